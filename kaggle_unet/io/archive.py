"""Files by name, out of a folder, a zip, or a zip inside a zip; nothing is unpacked to disk.

An archive carries paths, not open files: it is picklable, and each process opens the zip when it first reads from it.
An inner zip is held in memory whole. Names that would leave the folder, links, names that come twice and sizes that no
data set has are refused when a zip is opened.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kaggle_unet.errors import DataError
from kaggle_unet.io.containers import Container, FolderContainer, ZipContainer


@dataclass(frozen=True)
class Archive:
    """A folder of files, wherever it lies."""

    container: Container
    prefix: str = ""

    def __getstate__(self) -> dict[str, object]:
        return {"container": self.container, "prefix": self.prefix}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all files, relative to the place, with forward slashes, sorted."""
        start = len(self.prefix)
        return tuple(name[start:] for name in self.container.names if name.startswith(self.prefix))

    @property
    def folders(self) -> frozenset[str]:
        """Folders that are listed themselves, with a slash at the end; a zip need not list any."""
        start = len(self.prefix)
        return frozenset(name[start:] for name in self.container.folders if name.startswith(self.prefix))

    def read(self, name: str) -> bytes:
        """Read one file."""
        return self.container.read(self.prefix + name)

    def where(self, name: str = "") -> str:
        """Say where a file lies, for messages."""
        return self.container.where(self.prefix + name)

    def fingerprint(self, names: Iterable[str] | None = None) -> str:
        """Hash names, sizes and checksums, so that a changed file is noticed.

        A zip lists its checksums, files on disk are read once: a zip and its unpacked folder have one fingerprint.
        """
        digest = hashlib.sha256()
        for name in sorted(self.names if names is None else names):
            size, crc = self.container.checksum(self.prefix + name)
            digest.update(f"{name}\0{size}\0{crc:08x}\n".encode())
        return digest.hexdigest()

    def within(self, prefix: str) -> "Archive":
        """Enter a folder of this archive."""
        return Archive(self.container, self.prefix + prefix)

    def find(self, zip_name: str) -> "Archive":
        """Open a zip that lies in this archive, at any depth."""
        found = [name for name in self.names if name == zip_name] or self.named(zip_name)
        if len(found) != 1:
            message = f"{self.where()} holds {len(found)} files called {zip_name!r}, wanted one; {self.pairing()}"
            raise DataError(message, [self.where(name) for name in found])
        return Archive(self.container.open_zip(self.prefix + found[0]))

    def named(self, file_name: str) -> list[str]:
        """List the files whose last part is `file_name`."""
        found = [name for name in self.names if PurePosixPath(name).name == file_name]
        return sorted(found, key=lambda name: (name.count("/"), name))

    def at(self, place: str) -> "Archive":
        """Go to a place that a person named: a folder, an inner zip, or a folder inside an inner zip."""
        rest = place.strip("/")
        if not rest:
            return self
        if any(name.startswith(rest + "/") for name in self.names):
            return self.within(rest + "/")
        for name in sorted((name for name in self.names if name.endswith(".zip")), key=len, reverse=True):
            for spelling in (name, PurePosixPath(name).name):
                if rest == spelling or rest.startswith((f"{spelling}/", f"{spelling}:")):
                    return self.find(name).at(rest[len(spelling) + 1 :])
        raise DataError(f"{self.where()} holds no folder and no zip {place!r}; {self.pairing()}")

    def pairing(self) -> str:
        """Say what lies on top, for messages."""
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

    def _surroundings(self) -> Iterable["Archive"]:
        yield self
        container: Container | None = self.container
        while container is not None:
            yield Archive(container)
            outermost, container = container, container.outer
        yield Archive(FolderContainer(outermost.path.absolute().parent, depth=0))


def open_archive(data: str | Path) -> Archive:
    """Open a zip, a folder, or a place inside one."""
    path, place = split_location(data)
    if path.is_dir():
        return Archive(FolderContainer(path)).at(place)
    container = ZipContainer(path)
    container.check()
    return Archive(container).at(place)


def split_location(data: str | Path) -> tuple[Path, str]:
    """Split ``some.zip:place`` into what exists on disk and the place inside."""
    text = str(data)
    ends = [len(text), *(i for i in range(len(text) - 1, 0, -1) if text[i] == ":")]
    for end in ends:
        path = Path(text[:end]).expanduser()
        if _exists(path):
            return path, text[end + 1 :]
    raise DataError(f"no such file or folder: {text}; name the zip that Kaggle serves, a folder, or ZIP:place")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder we may not enter
        return False
