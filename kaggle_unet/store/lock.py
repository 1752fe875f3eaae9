"""One process at a time in a folder; the system lifts the lock when the process ends, however it ends."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kaggle_unet.errors import LockedError, ResourceError
from kaggle_unet.store.atomic import resource_errors


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Hold a folder for the length of the block."""
    path = Path(folder) / ".lock"
    with resource_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise LockedError(f"{path.parent} is in use by {holder}; wait until it ends, or stop it") from error
    except OSError as error:
        raise ResourceError(f"cannot lock {path}: {error.strerror}; use a folder on a local disk") from error
