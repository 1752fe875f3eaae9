"""A folder on disk that holds files."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kaggle_unet.competitions.container import is_litter
from kaggle_unet.competitions.container_zip import ZipContainer
from kaggle_unet.errors import DataError


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
        return sorted(name for name in self._walk() if not is_litter(name))

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
