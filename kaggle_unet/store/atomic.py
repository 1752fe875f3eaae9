"""Files that are whole or not there: written beside their name, flushed to disk, then renamed over it.

A disk takes some milliseconds for each flush. Of many files that are worth nothing before the last one is there, each
is renamed unflushed, and all are flushed together at the end: a killed process harms none of them; what a power cut
spoils has to be found by whoever goes on.

One process at a time in a folder; the system lifts the lock when the process ends, however it ends.
"""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from kaggle_unet.errors import LockedError, ResourceError

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp")
_FLUSHED_AT_ONCE = 32
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(_FULL, "free some space, or write to another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions, or write elsewhere"),
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.EISDIR: "a folder of that name is there; give a file's name",
    errno.ENOTDIR: "one of its folders is a file; write elsewhere",
    errno.EEXIST: "one of its folders is a file; write elsewhere",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk fails; write to another one",
}


@contextmanager
def atomic_writer(path: str | Path, *, flush: bool = True) -> Iterator[Path]:
    """Give a temporary file's path, and rename what was written there when the block ends well.

    A killed process leaves the old file, and at worst a temporary one for `sweep_temporaries`.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(8)}.tmp")
    with resource_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if flush:
                _flush(temporary)
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes | str, *, flush: bool = True) -> None:
    """Write a whole file, or leave the old one."""
    with atomic_writer(path, flush=flush) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def flush_files(paths: Iterable[Path]) -> None:
    """Make files outlive a power cut."""

    def flush(path: Path) -> None:
        with resource_errors(path):
            _flush(path)

    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        list(pool.map(flush, paths))


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sweep_temporaries(folder: str | Path) -> int:
    """Remove what killed processes left of unfinished files."""
    litter = [file for file in Path(folder).rglob(".*.tmp") if _TEMPORARY.fullmatch(file.name)]
    for file in litter:
        with resource_errors(file):
            file.unlink(missing_ok=True)
    return len(litter)


def sha256(path: str | Path) -> str:
    """Hash a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def resource_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals into errors that name the file and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        space = f" ({_free_mib(path)} MiB free)" if error.errno in _FULL else ""
        raise ResourceError(f"cannot write {path}: {error.strerror}{space}; {_REMEDIES[error.errno]}") from error


def _free_mib(path: Path) -> int:
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(existing).free // 2**20


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
