"""A zip that holds files.

Its handle belongs to one process: it is not pickled, and a forked child opens its own, since two processes that share a
handle move each other's reading position.
"""

import io
import os
import zipfile
import zlib
from pathlib import Path

from kaggle_unet.competitions.container import is_litter
from kaggle_unet.competitions.zip_dangers import find_dangers, posix_name
from kaggle_unet.errors import DataError

_READ_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)


class ZipContainer:
    """A zip on disk or inside another zip.

    Parameters
    ----------
    path : Path
        The file on disk.
    outer : ZipContainer, optional
        The zip on disk it lies in.
    inner_name : str
        Its name in `outer`.
    """

    def __init__(self, path: Path, outer: "ZipContainer | None" = None, inner_name: str = "") -> None:
        self.path = path
        self.outer = outer
        self._inner_name = inner_name
        self._opened: tuple[int, zipfile.ZipFile, dict[str, zipfile.ZipInfo]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "outer": self.outer, "_inner_name": self._inner_name, "_opened": None}

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of all files, sorted."""
        return tuple(sorted(name for name in self._open()[1] if not is_litter(name)))

    @property
    def folders(self) -> frozenset[str]:
        """Folders that the zip lists, with a slash at the end."""
        return frozenset(posix_name(info.filename) for info in self._open()[0].infolist() if info.is_dir())

    def check(self) -> "ZipContainer":
        """Open the zip and look at every entry once.

        Returns
        -------
        ZipContainer
            Itself.

        Raises
        ------
        DataError
            If it is no zip, or holds entries that are not safe; all of them are listed.
        """
        handle, _ = self._open()
        infos = handle.infolist()
        if dangers := find_dangers(infos):
            raise DataError(f"{self.where()}: refused, the zip is not safe to read", dangers[:20])
        return self

    def read(self, name: str) -> bytes:
        """Read one file.

        Parameters
        ----------
        name : str
            One of `names`.

        Returns
        -------
        bytes
            What it holds, its checksum compared.

        Raises
        ------
        DataError
            If it is absent, damaged or encrypted.
        """
        handle, infos = self._open()
        if name not in infos:
            raise DataError(f"{self.where(name)} does not exist")
        try:
            return handle.read(infos[name])
        except _READ_ERRORS as error:
            raise DataError(f"{self.where(name)} cannot be read ({error}); get the zip again") from error

    def checksum(self, name: str) -> tuple[int, int]:
        """Look up size and CRC-32.

        Parameters
        ----------
        name : str
            One of `names`.

        Returns
        -------
        tuple of int
            Bytes and CRC-32, as the zip lists them.
        """
        info = self._open()[1][name]
        return info.file_size, info.CRC

    def where(self, name: str = "") -> str:
        """Say where a file lies.

        Parameters
        ----------
        name : str
            One of `names`; empty for the zip itself.

        Returns
        -------
        str
            ``"outer.zip:train.zip:images/a.png"``.
        """
        here = self.outer.where(self._inner_name) if self.outer else str(self.path)
        return f"{here}:{name}" if name else here

    def open_zip(self, name: str) -> "ZipContainer":
        """Open a zip inside this one.

        Parameters
        ----------
        name : str
            One of `names`.

        Returns
        -------
        ZipContainer
            Checked.
        """
        return ZipContainer(self.path, self, name).check()

    def _open(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        if self._opened is None or self._opened[0] != os.getpid():
            handle = self._open_file()
            infos = {posix_name(info.filename): info for info in handle.infolist() if not info.is_dir()}
            self._opened = os.getpid(), handle, infos
        return self._opened[1:]

    def _open_file(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(io.BytesIO(self.outer.read(self._inner_name)) if self.outer else self.path)
        except zipfile.BadZipFile as error:
            raise DataError(f"{self.where()} is no zip, or cut off ({error}); download it again") from error
        except OSError as error:
            raise DataError(f"cannot read {self.where()}: {error.strerror}") from error
