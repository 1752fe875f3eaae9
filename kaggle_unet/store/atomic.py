"""Atomic files, valid names for ids, and locks on folders.

A file is written under a temporary name, flushed to disk and renamed. A flush takes milliseconds, so files that are
useless until the last of them is written are renamed unflushed and flushed together at the end: a killed process
damages none of them, but whoever continues must look for files that a power cut has damaged.

A temporary file is locked as long as its process lives. The first write of a process into a folder removes unlocked
ones.
"""

import errno
import hashlib
import mmap
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from kaggle_unet.errors import ConfigError, DataError, LockedError, ResourceError
from kaggle_unet.types import Shard

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp")
_FLUSHED_AT_ONCE = 32
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(_FULL, "free some space, or write to another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions, or write elsewhere"),
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.EISDIR: "a folder of that name is there; remove it, or choose another name",
    errno.ENOENT: "its folder has gone, or takes no files; write elsewhere",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "one of its folders is a file; write elsewhere"),
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk fails; write to another one",
    errno.ELOOP: "it is a symbolic link, which is not followed; remove it",
    errno.ENOLCK: "use a folder on a local disk",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.ENOMEM: "end other programs, or work on smaller pieces",
}
_NOT_IN_IDS = re.compile(r"[/\\\x00-\x1f\x7f\ud800-\udfff]")  # the last are bytes that are not UTF-8
_LOCK = ".lock"
_NO_MEMORY = re.compile(
    r"can't start new thread|can(?:'t|not) allocate memory|failed to map|insufficient memory|bad.alloc|of memory",
    re.IGNORECASE,
)
_LITTLE_BYTES = 2**26
_SHARD_LOCKS = f"{_LOCK}.*-of-*"
_SHARDS_BEGIN_WITHIN_S = _OUTPUT_WITHIN_S = 60
_LONGEST_ID_BYTES = 200  # file systems allow 255, of which a suffix and a temporary name need some


def sample_file(folder: Path, sample_id: str, suffix: str = ".npz") -> Path:
    """Return the path of a sample's file; every file that is named by an id is named here."""
    n_bytes = len(sample_id.encode(errors="replace"))
    if sample_id in {".", ".."} or _NOT_IN_IDS.search(sample_id) or not 0 < n_bytes <= _LONGEST_ID_BYTES:
        msg = f"sample {sample_id[:60]!r} cannot name a file: expected 1 to {_LONGEST_ID_BYTES} bytes of UTF-8 without "
        raise DataError(f"{msg}slashes and control characters, not . or ..; rename it")
    return folder / f"{sample_id}{suffix}"


def atomic_write(path: str | Path, data: bytes | str | Iterable[str], *, flush: bool = True) -> None:
    """Write a whole file, or leave the old one: it is written under a temporary name, and renamed when complete.

    A killed process leaves the old file, and at worst a temporary one, until another writes into this folder.
    """
    target = Path(path)
    temporary = _temporary_name(target)
    with resource_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent.absolute(), os.getpid())
            with _open_temporary(temporary) as file:
                for piece in (data,) if isinstance(data, bytes | str) else data:
                    file.write(piece.encode(errors="backslashreplace") if isinstance(piece, str) else piece)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
                if sys.platform != "win32":  # still locked, so that nobody sweeps it at the last step
                    temporary.replace(target)
            if sys.platform == "win32":
                temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _open_temporary(path: Path) -> BinaryIO:
    """Open a new file and lock it; another process may have swept it between the two."""
    while True:
        file = path.open("xb")
        with suppress(OSError):  # on a disk without locks nothing is swept
            _lock_open(file, wait=True)
        if path.exists():
            return file
        file.close()


def _lock_open(file: BinaryIO, *, wait: bool) -> None:
    """Lock a file until it is closed or its process ends."""
    if sys.platform != "win32":  # where nobody can remove an open file
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@lru_cache(maxsize=4096)
def _sweep(folder: Path, process: int) -> None:  # noqa: ARG001 each process does it once
    """Remove the temporary files of killed processes."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError), path.open("rb+") as file:
                _lock_open(file, wait=False)
                path.unlink()


def try_to_write(path: Path) -> None:
    """Raise a ResourceError if a file can't be written, before the work whose result it will hold."""
    trial = _temporary_name(_existing_folder(path) / path.name)
    with resource_errors(path), _open_temporary(trial):
        trial.unlink()


def refuse_to_replace(written: Iterable[Path], read: Iterable[object]) -> None:
    """Refuse to overwrite files that are read."""
    given = {Path(str(one)).expanduser().resolve() for one in read}
    for path in written:
        if path.expanduser().resolve() in given:
            raise ConfigError(f"{path}: this would overwrite a file that is read; give another path")


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.tmp")


def _existing_folder(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.exists())


def flush_files(paths: Iterable[Path]) -> None:
    """Flush files, so that they survive a power cut."""

    def flush(path: Path) -> None:
        with resource_errors(path), path.open("rb+") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        list(pool.map(flush, paths))


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
        if error.errno not in _REMEDIES or (error.errno == errno.ENOENT and not _is_for(path, error.filename)):
            raise
        space = ""
        if error.errno in _FULL:
            space = f" ({shutil.disk_usage(_existing_folder(path)).free // 2**20} MiB free)"
        raise ResourceError(f"cannot write {path}: {error.strerror}{space}; {_REMEDIES[error.errno]}") from error


def to_resource_error(error: Exception) -> ResourceError | None:
    """Turn a refusal of the system, in whatever words a library reports it, into an error; None for other errors."""
    if _lacks_memory(error):
        said = " ".join(str(error).split()) or type(error).__name__
        remedy = "end other programs, work on smaller pieces, or raise the limit of memory or threads (ulimit)"
        return ResourceError(f"out of memory or threads ({said}); {remedy}")
    return ResourceError(explain_os_error(error)) if isinstance(error, OSError) else None


def _lacks_memory(error: BaseException | None) -> bool:
    """Return True if an error, its causes or a trial show a lack of memory, which can fail an import in any way."""
    while error is not None:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    try:  # not with a large object, which may fit into freed memory that the process has kept
        mmap.mmap(-1, _LITTLE_BYTES).close()
    except OSError:
        return True
    return False


def explain_os_error(error: OSError) -> str:
    """Name the file that the system refused, why, and the remedy."""
    where = "" if error.errno not in _FULL else "the folder of temporary files (TMPDIR) or numba's (NUMBA_CACHE_DIR): "
    where = where if error.filename is None else f"{error.filename}: "
    remedy = _REMEDIES.get(error.errno or 0, "this is the system's refusal; the kit can't go on")
    return f"{where}{error.strerror or error}; {remedy}"


def _is_for(path: Path, missing: str | None) -> bool:
    """Return True if what is missing is a folder or the temporary file of a path, not what the block reads."""
    found = Path(missing or "").absolute()
    return found in path.absolute().parents or bool(_TEMPORARY.fullmatch(found.name))


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Let one process at a time write a file and what belongs to it; others wait for some time."""
    held = FileLock(path.with_name(f".{path.name[:80]}.lock"), mode=0o666)
    with resource_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=_OUTPUT_WITHIN_S)
        except Timeout as error:
            raise LockedError(f"another process is writing {path}; wait until it ends, or give another name") from error
    try:
        yield
    finally:
        Path(held.lock_file).unlink(missing_ok=True)
        held.release()


class Lock:
    """A lock on a folder; a shard lets the others in as soon as it has begun."""

    def __init__(self, folder: Path, shard: Shard | None) -> None:
        self._folder = folder
        self.holder = folder / ".lock.holder"  # not in the file itself: Windows lets nobody read a locked file
        self._whole = FileLock(folder / _LOCK, mode=0o666)
        self._own = FileLock(folder / f"{_LOCK}.{shard}", mode=0o666) if shard else None

    def acquire(self, wait_s: float) -> None:
        """Take the folder, or raise a LockedError that names who has it."""
        try:
            self._whole.acquire(timeout=wait_s if self._own is None else max(wait_s, _SHARDS_BEGIN_WITHIN_S))
            if self._own is not None:
                self._own.acquire(timeout=0)
            elif others := self.others():
                raise Timeout(str(others[0]))
            else:
                for path in self._folder.glob(_SHARD_LOCKS):  # of shards that have ended
                    path.unlink(missing_ok=True)
        except Timeout as error:
            self.release()
            who = self.holder.read_text(errors="replace").strip() if self.holder.is_file() else ""
            # Early versions of filelock do not distinguish the two.
            who = who or "another process, or its disk has no locks"
            raise LockedError(f"{self._folder} is in use by {who}; wait until it ends, or stop it") from error

    def others(self) -> list[Path]:
        """List the locks of other shards that are at work in the folder."""
        own = None if self._own is None else self._own.lock_file
        return [path for path in self._folder.glob(_SHARD_LOCKS) if str(path) != own and _is_held(path)]

    def release_to_shards(self) -> None:
        """Open the folder to all shards; without a shard, it is held to the end."""
        if self._own is not None:
            self._whole.release()

    def release(self) -> None:
        """Free the folder."""
        for held in (self._whole, self._own):
            if held is not None:
                held.release()


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def lock(folder: str | Path, *, wait_s: float = 0, shard: Shard | None = None) -> Iterator[Lock]:
    """Keep other processes out of a folder for the length of the block; the system frees it if this one is killed."""
    folder = Path(folder)
    held = Lock(folder, shard)
    with resource_errors(folder / _LOCK):
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(wait_s)
    try:
        atomic_write(held.holder, f"process {os.getpid()} on {socket.gethostname()}\n", flush=False)
        yield held
    finally:
        held.holder.unlink(missing_ok=True)
        held.release()
