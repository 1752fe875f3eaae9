"""A zip that holds files.

Opened zips are kept for each process: reopening one with 30,000 entries takes a third of a second, and a source is
unpickled many times by a worker. A forked child opens its own, since two processes that share a handle move each
other's reading position; a zip that changes on disk is opened anew.
"""

import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kaggle_unet.competitions.container import is_litter
from kaggle_unet.competitions.zip_dangers import find_dangers, posix_name
from kaggle_unet.errors import DataError

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
        return tuple(sorted(name for name in self._open()[1] if not is_litter(name)))

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
