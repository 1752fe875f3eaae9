"""Files by name, from a folder, a zip, or a zip inside a zip; nothing is unpacked to disk.

An archive carries paths, not open files: it is picklable, and each process opens the zip when it first reads from it.
Names that would leave the folder, links, duplicate names and implausible sizes are refused when a zip is opened. An
inner zip is held in memory as a whole.
"""

import hashlib
import io
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar

from kaggle_unet.errors import ConfigError, DataError, reading

# What a file may declare before it is read, so that one of a few MiB takes no more than 2 GiB of memory. A zip bomb
# declares what no data set has: deflate reaches 1:1032 on zeros, while the most compressible real set we know (label
# images) stays under 1:10 as a whole and under 1:500 in any one file. The environment variable KAGGLE_UNET_MAX_<NAME>
# raises a limit.
LIMITS = {
    "FILE_BYTES": 2**29,  # of a file in a zip, or 8 times what it takes there
    "INNER_ZIP_BYTES": 2**27,  # of a zip in a zip, or twice what it takes there: a zip is compressed already
    "ZIP_DEPTH": 3,  # zips in zips
    "ZIP_RATIO": 200,  # of all files of a zip that unpacks to over a GiB
    "IMAGE_PIXELS": 178_956_970,  # 13,377 × 13,377
    "IMAGE_BYTES": 2**29,  # of all channels
    "CSV_LINES": 4_000_000,
}
_RATIO_COUNTS_FROM_BYTES = 2**30
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}  # not Deflate64


def find_excess(name: str, found: int, allowed: int = 0) -> str:
    """Return what is wrong with a number above both its limit and what is allowed anyway, or an empty string."""
    variable = f"KAGGLE_UNET_MAX_{name}"
    if not (text := os.environ.get(variable, str(LIMITS[name]))).isdecimal():
        raise ConfigError(f"{variable} is {text!r}; expected a whole number")
    if found <= max(int(text), allowed):
        return ""
    return f"{found:,} is above the limit of {int(text):,}; if you trust the file, set {variable}={found}"


_JUNK = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "system volume information",
    "lost+found",
}  # fmt: skip
_Opened = tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]


@dataclass(frozen=True)
class Archive(ABC):
    """A folder of files on disk or in a zip; names of files are relative to it."""

    path: Path
    prefix: str = ""
    _cure: ClassVar[str] = "make it readable, or get it again"

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without the list of names

    @property
    @abstractmethod
    def entries(self) -> Iterable[str]:
        """Names of all files and folders, folders with a slash at the end; a zip need not list any folder."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all files, with forward slashes, sorted; without the junk of operating systems."""
        return tuple(sorted(name for name in self.entries if not name.endswith("/")))

    def read(self, name: str) -> bytes:
        """Read one file."""
        with self._reading(name), self.open(name) as file:
            return file.read()

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open one file, so that only its header need be read."""

    def _reading(self, name: str) -> AbstractContextManager[None]:
        return reading(self.where(name), self._cure)

    @abstractmethod
    def checksums(self, names: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the sizes of files in bytes and their CRC-32."""

    @abstractmethod
    def where(self, name: str = "") -> str:
        """Return where a file lies, for messages."""

    @abstractmethod
    def open_zip(self, name: str) -> "ZipArchive":
        """Enter a zip that lies in this archive; it is not read before something in it is."""

    def fingerprint(self, names: Iterable[str] | None = None) -> str:
        """Hash names, sizes and checksums, so that a changed file is noticed.

        A zip lists its checksums, files on disk are read once: a zip and its unpacked folder have the same fingerprint.
        """
        digest = hashlib.sha256()
        ordered = sorted(self.names if names is None else names)
        for name, (size, crc) in zip(ordered, self.checksums(ordered), strict=True):
            digest.update(f"{name}\0{size}\0{crc:08x}\n".encode())
        return digest.hexdigest()

    def within(self, folder: str) -> "Archive":
        """Enter a folder of this archive."""
        return replace(self, prefix=self.prefix + folder)

    def find(self, zip_name: str) -> "Archive":
        """Open a zip that lies in this archive, at any depth."""
        found = [name for name in self.names if name == zip_name] or self.named(zip_name)
        if len(found) != 1:
            message = f"{self.where()} holds {len(found)} files called {zip_name!r}, expected one; {self.describe()}"
            raise DataError(message, [self.where(name) for name in found])
        inner = self.open_zip(found[0])
        inner.opened()
        return inner

    def named(self, file_name: str) -> list[str]:
        """List the files whose last part is `file_name`, those in the fewest folders first."""
        found = [name for name in self.names if PurePosixPath(name).name == file_name]
        return sorted(found, key=lambda name: (name.count("/"), name))

    def at(self, place: str) -> "Archive":
        """Enter a place that a person named: a folder, an inner zip, or a folder inside an inner zip."""
        rest = place.strip("/")
        if not rest:
            return self
        if any(name.startswith(rest + "/") for name in self.names):
            return self.within(rest + "/")
        for name in sorted((name for name in self.names if name.endswith(".zip")), key=len, reverse=True):
            for spelling in (name, PurePosixPath(name).name):
                if rest == spelling or rest.startswith((f"{spelling}/", f"{spelling}:")):
                    return self.find(name).at(rest[len(spelling) + 1 :])
        raise DataError(f"{self.where()} contains neither a folder nor a zip {place!r}; {self.describe()}")

    def describe(self) -> str:
        """Return what lies at the top level, for messages."""
        tops = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in self.names})
        if not tops:
            return "it holds no files"
        return "it holds: " + ", ".join(tops[:8]) + (f" and {len(tops) - 8} more" if len(tops) > 8 else "")

    def beside(self, file_name: str) -> "tuple[Archive, str] | None":
        """Look for a file in this archive, in what encloses it, and in the folder on disk that it lies in."""
        for archive in self._surroundings():
            if found := archive.named(file_name):
                return archive, found[0]
            if zipped := archive.named(file_name + ".zip"):
                inner = archive.find(zipped[0])
                if found := inner.named(file_name):
                    return inner, found[0]
        return None

    def _surroundings(self) -> "Iterator[Archive]":
        yield self
        if self.prefix:
            yield replace(self, prefix="")
        outer = getattr(self, "outer", None)
        while outer is not None:
            yield outer
            outer = outer.outer
        yield FolderArchive(self.path.absolute().parent, depth=0)


@dataclass(frozen=True)
class ZipArchive(Archive):
    """Files of a zip on disk, or of a zip inside it: `inner` names the zips on the way."""

    inner: tuple[str, ...] = ()
    _cure: ClassVar[str] = "download the zip again"

    @property
    def outer(self) -> "ZipArchive | None":
        """The zip that contains this one; None for one on disk."""
        return ZipArchive(self.path, inner=self.inner[:-1]) if self.inner else None

    @property
    def entries(self) -> Iterable[str]:
        """Names of files, and of the folders that the zip lists."""
        start = len(self.prefix)
        return (name[start:] for name in self.opened()[1] if name.startswith(self.prefix))

    def open(self, name: str) -> IO[bytes]:
        """Open one file."""
        handle, entries = self.opened()
        if self.prefix + name not in entries:
            raise DataError(f"{self.where(name)} does not exist")
        with self._reading(name):
            return handle.open(entries[self.prefix + name])

    def checksums(self, names: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Look up sizes and CRC-32s."""
        infos = map(self.opened()[1].__getitem__, (self.prefix + name for name in names))
        return ((info.file_size, info.CRC) for info in infos)

    def where(self, name: str = "") -> str:
        """Return ``some.zip:inner.zip:name``."""
        full = self.prefix + name
        return ":".join([str(self.path), *self.inner, *([full] if full else [])])

    def open_zip(self, name: str) -> "ZipArchive":
        """Enter a zip inside this one."""
        return ZipArchive(self.path, inner=(*self.inner, self.prefix + name))

    def opened(self) -> _Opened:
        """Open the zip, or return it as this process has opened it before; its entries are listed by name."""
        whole = ZipArchive(self.path, inner=self.inner)
        with reading(whole.where(), self._cure):
            stat = self.path.stat()
            return _open_zip(whole, os.getpid(), (stat.st_mtime_ns, stat.st_size))


# Reopening a zip with 30,000 entries takes a third of a second, and a source is unpickled many times by a worker. A
# forked child opens its own, since two processes that share a handle move each other's reading position; a zip that
# changes on disk is opened anew.
@lru_cache(maxsize=4)  # an inner zip is held in memory whole
def _open_zip(archive: ZipArchive, process: int, stamp: tuple[int, int]) -> _Opened:  # noqa: ARG001 (cache keys)
    outer = archive.outer
    if text := find_excess("ZIP_DEPTH", len(archive.inner)):
        raise DataError(f"{archive.where()} lies in too many zips: {text}")
    file = io.BytesIO(outer.read(archive.inner[-1])) if outer else archive.path
    try:
        handle = zipfile.ZipFile(file, metadata_encoding="utf-8")  # macOS writes such names, without their flag
    except UnicodeDecodeError:
        handle = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        msg = f"{archive.where()} is no zip, or a damaged one ({error}); unpack archives of other kinds, and pass the "
        raise DataError(f"{msg}folder, or download the zip again") from error
    named = [(info.filename.replace("\\", "/").removeprefix("./"), info) for info in handle.infolist()]
    files = [(name, info) for name, info in named if not info.is_dir()]
    assert handle.fp is not None
    if any(info.flag_bits & 1 for _, info in files):
        raise DataError(f"{archive.where()} is encrypted; unpack it with its password, and pass the folder")
    if any(info.compress_type not in _METHODS for _, info in files):
        raise DataError(f"{archive.where()} is compressed in a way that can't be read; unpack it, and pass the folder")
    if (declared := read_entry_count(handle)) not in {len(named) % 2**16, 2**16 - 1}:
        raise DataError(f"{archive.where()} lists {len(named)} files of {declared}: it is damaged; download it again")
    if cut := [info.orig_filename for _, info in named if "\0" in info.orig_filename]:
        raise DataError(f"{archive.where()} has the name {cut[0]!r}: it is damaged; download it again")
    if dangers := list(_find_dangers(files, handle.fp.seek(0, os.SEEK_END))):
        raise DataError(f"{archive.where()}: refused, the zip is not safe to read", dangers[:20])
    return handle, {name: info for name, info in named if name and not is_junk(name)}  # "./" has no name


def read_entry_count(handle: zipfile.ZipFile) -> int:
    """Read how many entries a zip's last record declares, modulo 2**16; `zipfile` ignores it."""
    assert handle.fp is not None
    handle.fp.seek(max(0, handle.fp.seek(0, os.SEEK_END) - (22 + 2**16)))  # a comment may follow
    end = handle.fp.read()
    return int.from_bytes(end[(start := end.rfind(b"PK\5\6") + 10) : start + 2], "little")


def _find_dangers(files: Sequence[tuple[str, zipfile.ZipInfo]], zip_bytes: int) -> Iterator[str]:
    """Yield what is wrong with a zip by its list of entries, before any is read."""
    seen = set()
    for name, info in files:
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            yield f"{info.filename!r} would lie outside the folder it is unpacked to"
        if stat.S_ISLNK(info.external_attr >> 16):
            yield f"{info.filename!r} is a symbolic link"
        if name in seen:
            yield f"{name!r} occurs twice"
        limit, factor = ("INNER_ZIP_BYTES", 2) if name.endswith(".zip") else ("FILE_BYTES", 8)
        if text := find_excess(limit, info.file_size, factor * min(info.compress_size, zip_bytes)):
            yield f"{info.filename!r} would unpack to too many bytes: {text}"
        seen.add(name)
    total, packed = sum(info.file_size for _, info in files), sum(info.compress_size for _, info in files)
    if total > _RATIO_COUNTS_FROM_BYTES and (text := find_excess("ZIP_RATIO", total // max(packed, 1))):
        yield f"it would unpack {packed:,} to {total:,} bytes: {text}"


def is_junk(name: str) -> bool:
    """Return True if operating systems leave such a file in folders."""
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX", "~$")) or part.lower() in _JUNK for part in parts)


@dataclass(frozen=True)
class FolderArchive(Archive):
    """Files of a folder on disk; links are followed, each folder once. `depth` limits how far down it is listed."""

    depth: int | None = None

    @cached_property
    def entries(self) -> list[str]:
        """Names of all files and folders below."""
        top, seen, entries = self.path / self.prefix, set(), []
        refuse = None if self.depth is not None else self._refuse  # folders around the data need not be listable
        for folder, subfolders, files in os.walk(top, onerror=refuse, followlinks=True):
            here = Path(folder)
            seen.add(here.resolve())
            if self.depth is not None and len(here.relative_to(top).parts) >= self.depth:
                subfolders.clear()
            subfolders[:] = [sub for sub in subfolders if (here / sub).resolve() not in seen]
            start = "" if here == top else here.relative_to(top).as_posix() + "/"
            entries += [start + name for name in files] + [f"{start}{name}/" for name in subfolders]
        return [name for name in entries if not is_junk(name)]

    def _refuse(self, error: OSError) -> None:
        raise DataError(
            f"cannot list {error.filename}: {error.strerror}; it may hold data: make it readable"
        ) from error

    def open(self, name: str) -> IO[bytes]:
        """Open one file."""
        with self._reading(name):
            return (self.path / self.prefix / name).open("rb")

    def checksums(self, names: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Compute sizes and CRC-32s."""
        return ((len(data), zlib.crc32(data)) for data in map(self.read, names))

    def where(self, name: str = "") -> str:
        """Return the path on disk."""
        return str(self.path / self.prefix / name)

    def open_zip(self, name: str) -> ZipArchive:
        """Enter a zip in this folder."""
        return ZipArchive(self.path / self.prefix / name)


def open_archive(data: str | Path) -> Archive:
    """Open a zip, a folder, or a place inside one."""
    path, place = split_location(data)
    archive: Archive = FolderArchive(path) if path.is_dir() else ZipArchive(path)
    if isinstance(archive, ZipArchive):
        archive.opened()
    return archive.at(place)


def expand_glob(place: str) -> list[Path]:
    """List what a glob matches, except operating systems' junk; any other or existing place stands for itself."""
    path = Path(place).expanduser()
    if path.exists() or not set(place) & set("*?["):
        return [path]
    home = next(folder for folder in path.parents if folder.exists())  # its own name may look like a glob
    return sorted(found for found in home.glob(str(path.relative_to(home))) if not is_junk(found.name)) or [path]


def split_location(data: str | Path) -> tuple[Path, str]:
    """Split ``some.zip:place`` into what exists on disk and the place inside."""
    text = str(data)
    for end in [len(text), *(i for i in range(len(text) - 1, 0, -1) if text[i] == ":")]:
        path = Path(text[:end]).expanduser()
        with suppress(OSError):  # a name that is too long, or a folder we may not enter
            if path.exists():
                return path, text[end + 1 :]
    raise DataError(f"no such file or folder: {text}; give a file, a folder, a zip, or ZIP:place")
