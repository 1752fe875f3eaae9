"""What no honest zip holds: names that leave the folder, links, one name twice, absurd sizes."""

import stat
import zipfile
from collections.abc import Iterator, Sequence

# A zip bomb declares what no data set has: deflate reaches 1:1032 on zeros, while the most compressible real set we
# know (label images) stays under 1:10 as a whole and under 1:500 in any one file.
MAX_FILE_BYTES = 4 * 2**30
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 2**30


def find_dangers(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Look at a zip's entries, without reading any."""
    files = [info for info in infos if not info.is_dir()]
    return [*_find_unsafe(files), *_find_twice(files), *_find_too_large(files)]


def posix_name(name: str) -> str:
    """Write a name with forward slashes (old .NET tools wrote backslashes), and without a leading ``./``."""
    return name.replace("\\", "/").removeprefix("./")


def _find_unsafe(infos: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    for info in infos:
        name = posix_name(info.filename)
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            yield f"{info.filename!r} would lie outside the folder it is unpacked to"
        if stat.S_ISLNK(info.external_attr >> 16):
            yield f"{info.filename!r} is a symbolic link"


def _find_twice(infos: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    seen = set()
    for info in infos:
        name = posix_name(info.filename)
        if name in seen:
            yield f"{name!r} comes twice"
        seen.add(name)


def _find_too_large(infos: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    total = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if total > RATIO_COUNTS_FROM_BYTES and total > MAX_RATIO * packed:
        yield f"it would unpack {packed:,} to {total:,} bytes"
    for info in infos:
        if info.file_size > MAX_FILE_BYTES:
            yield f"{info.filename!r} would unpack to {info.file_size:,} bytes"
