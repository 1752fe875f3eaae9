"""Per-sample work in several processes: none stays behind, and if one is killed, the work ends with a message."""

import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from kaggle_unet.errors import ResourceError

OnProgress = Callable[[str, int, int], None]


def map_samples(
    work: Callable[[Any], Any],
    ids: Sequence[Any],
    workers: int,
    what: str = "samples",
    on_progress: OnProgress = lambda *_: None,
    *,
    least: int = 64,
) -> Iterator[Any]:
    """Do per-sample work in several processes, in order, and report progress as results are taken."""
    is_alone = workers <= 1 or len(ids) < least  # a spawned interpreter costs about as much as 64 samples
    results = map(work, ids) if is_alone else _map_over_processes(work, ids, workers)
    for done, result in enumerate(results, 1):
        on_progress(what, done, len(ids))
        yield result


def _map_over_processes(work: Callable[[Any], Any], ids: Sequence[Any], workers: int) -> Iterator[Any]:
    # `work` holds the listing of a whole zip, some MB, so each process reads it once, from a file: through a pipe, each
    # process would start only once the one before had imported everything. Samples are sent one by one, as a single
    # one may have a hundred times the pixels of another.
    with TemporaryDirectory(prefix="kaggle-unet-") as folder:
        shared = Path(folder, "work.pickle")
        shared.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _load_task, (shared,))
        is_done = False
        try:
            with explain_killed_workers("use fewer: --workers 1"):
                with holding_ctrl_c():
                    results = pool.map(run_task, ids)
                yield from results
            is_done = True
        finally:  # when all is done, don't wait for the processes to shut down; otherwise, let none go on
            pool.shutdown(wait=not is_done, cancel_futures=True)


@contextmanager
def holding_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back; processes that start meanwhile never get it, not even before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def explain_killed_workers(remedy: str) -> Iterator[None]:
    """Raise a ResourceError that says what to do if the system has killed a process."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ResourceError(f"a worker process was killed, most often because memory ran out; {remedy}") from error


_adopted: list[Callable[[Any], Any]] = []


def _load_task(shared: Path) -> None:
    """Read a process's work when the process starts."""
    _leave_to_parent(shared.parent)
    with suppress(FileNotFoundError):  # the other processes have done everything by now
        _adopted[:] = [pickle.loads(shared.read_bytes())]


def init_worker(make: Callable[..., Callable[[Any], Any]], *parts: Any) -> None:
    """Make a process's work when the process starts."""
    _leave_to_parent()
    _adopted[:] = [make(*parts)]


def _leave_to_parent(shared: Path | None = None) -> None:
    """Leave Ctrl-C to the parent process, and end if the parent is killed, as nothing else would end this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := parent_process()) is not None:
        Thread(target=_end_after, args=(parent, shared), daemon=True).start()


def _end_after(parent: Any, shared: Path | None) -> None:
    parent.join()
    if shared is not None:
        rmtree(shared, ignore_errors=True)
    os._exit(1)


def run_task(task: Any) -> Any:
    """Do a task in a process that `_load_task` or `init_worker` has prepared."""
    return _adopted[0](task)
