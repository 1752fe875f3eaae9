"""A folder on disk that holds files.

What holds files: a zip (on disk or inside another) or a folder on disk.

What no honest zip holds: names that leave the folder, links, one name twice, absurd sizes.

A zip that holds files.

Opened zips are kept for each process: reopening one with 30,000 entries takes a third of a second, and a source is
unpickled many times by a worker. A forked child opens its own, since two processes that share a handle move each
other's reading position; a zip that changes on disk is opened anew.
"""

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from kaggle_unet.errors import DataError


class Container(Protocol):
    """Files by their full names."""

    @property
    def path(self) -> Path:
        """File or folder on disk."""

    @property
    def outer(self) -> "Container | None":
        """What this container lies in; None when it lies on disk."""

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of all files, sorted; no folders and no litter of operating systems."""

    @property
    def folders(self) -> frozenset[str]:
        """Folders that are listed themselves, with a slash at the end; empty ones are seen that way."""

    def read(self, name: str) -> bytes:
        """Read one file."""

    def checksum(self, name: str) -> tuple[int, int]:
        """Size in bytes and CRC-32."""

    def where(self, name: str) -> str:
        """Say where a file lies, for messages."""

    def open_zip(self, name: str) -> "Container":
        """Open a zip that lies in this container."""


def is_junk(name: str) -> bool:
    """Tell what operating systems leave in folders."""
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) for part in parts) or parts[-1] in {"Thumbs.db", "desktop.ini"}


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


_READ_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)

_Opened = tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]


@dataclass(frozen=True)
class ZipContainer:
    """A zip on disk or inside another zip."""

    path: Path
    inner: tuple[str, ...] = ()

    @property
    def outer(self) -> "ZipContainer | None":
        """The zip it lies in; None when it lies on disk."""
        return ZipContainer(self.path, self.inner[:-1]) if self.inner else None

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of all files, sorted."""
        return tuple(sorted(name for name in self._open()[1] if not is_junk(name)))

    @property
    def folders(self) -> frozenset[str]:
        """Folders that the zip lists, with a slash at the end."""
        return frozenset(posix_name(info.filename) for info in self._open()[0].infolist() if info.is_dir())

    def check(self) -> "ZipContainer":
        """Open the zip and look at every entry once."""
        handle, _ = self._open()
        infos = handle.infolist()
        if dangers := find_dangers(infos):
            raise DataError(f"{self.where()}: refused, the zip is not safe to read", dangers[:20])
        return self

    def read(self, name: str) -> bytes:
        """Read one file."""
        handle, infos = self._open()
        if name not in infos:
            raise DataError(f"{self.where(name)} does not exist")
        try:
            return handle.read(infos[name])
        except _READ_ERRORS as error:
            raise DataError(f"{self.where(name)} cannot be read ({error}); get the zip again") from error

    def checksum(self, name: str) -> tuple[int, int]:
        """Look up size and CRC-32."""
        info = self._open()[1][name]
        return info.file_size, info.CRC

    def where(self, name: str = "") -> str:
        """Say where a file lies."""
        return ":".join([str(self.path), *self.inner, *([name] if name else [])])

    def open_zip(self, name: str) -> "ZipContainer":
        """Open a zip inside this one."""
        return ZipContainer(self.path, (*self.inner, name)).check()

    def _open(self) -> _Opened:
        try:
            stat = self.path.stat()
            return _open_zip(self, os.getpid(), (stat.st_mtime_ns, stat.st_size))
        except zipfile.BadZipFile as error:
            raise DataError(f"{self.where()} is no zip, or cut off ({error}); download it again") from error
        except OSError as error:
            raise DataError(f"cannot read {self.where()}: {error.strerror}") from error


@lru_cache(maxsize=4)  # an inner zip is held in memory whole
def _open_zip(container: ZipContainer, process: int, stamp: tuple[int, int]) -> _Opened:  # noqa: ARG001 (cache keys)
    outer = container.outer
    handle = zipfile.ZipFile(io.BytesIO(outer.read(container.inner[-1])) if outer else container.path)
    return handle, {posix_name(info.filename): info for info in handle.infolist() if not info.is_dir()}


@dataclass(frozen=True)
class FolderContainer:
    """A folder on disk; links are followed, each folder once."""

    path: Path
    depth: int | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "depth": self.depth}

    @property
    def outer(self) -> None:
        """A folder on disk lies in nothing."""
        return

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Full names of all files, sorted."""
        return tuple(name for name in self._entries if not name.endswith("/"))

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders below, with a slash at the end."""
        return frozenset(name for name in self._entries if name.endswith("/"))

    @cached_property
    def _entries(self) -> list[str]:
        return sorted(name for name in self._walk() if not is_junk(name))

    def read(self, name: str) -> bytes:
        """Read one file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {self.where(name)}: {error.strerror}") from error

    def checksum(self, name: str) -> tuple[int, int]:
        """Compute size and CRC-32."""
        data = self.read(name)
        return len(data), zlib.crc32(data)

    def where(self, name: str) -> str:
        """Say where a file lies."""
        return str(self.path / name)

    def open_zip(self, name: str) -> ZipContainer:
        """Open a zip in this folder."""
        return ZipContainer(self.path / name).check()

    def _walk(self) -> Iterator[str]:
        seen = set()
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            here = Path(folder)
            seen.add(here.resolve())
            if self.depth is not None and len(here.relative_to(self.path).parts) >= self.depth:
                subfolders.clear()
            subfolders[:] = [sub for sub in subfolders if (here / sub).resolve() not in seen]
            start = "" if here == self.path else here.relative_to(self.path).as_posix() + "/"
            yield from (start + name for name in files)
            yield from (f"{start}{name}/" for name in subfolders)
