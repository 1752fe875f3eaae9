"""What holds files: a zip (on disk or inside another) or a folder on disk."""

from pathlib import Path, PurePosixPath
from typing import Protocol


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


def is_litter(name: str) -> bool:
    """Tell what operating systems leave in folders."""
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) for part in parts) or parts[-1] in {"Thumbs.db", "desktop.ini"}
