"""Per-sample work over several processes: none stays behind, and one that is killed ends the work with a message."""

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
    """Do per-sample work over several processes, in order, and report progress while results are taken."""
    is_alone = workers <= 1 or len(ids) < least  # a spawned interpreter costs about as much as 64 samples
    results = map(work, ids) if is_alone else _map_over_processes(work, ids, workers)
    for done, result in enumerate(results, 1):
        on_progress(what, done, len(ids))
        yield result


def _map_over_processes(work: Callable[[Any], Any], ids: Sequence[Any], workers: int) -> Iterator[Any]:
    # `work` holds the listing of a whole zip, some MB: each process reads it once, from a file; through a pipe, the
    # next one would start only when this one has imported everything. Samples go out one by one, for a single one may
    # have a hundred times the pixels of another.
    with TemporaryDirectory(prefix="kaggle-unet-") as folder:
        shared = Path(folder, "work.pickle")
        shared.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _adopt, (shared,))
        is_done = False
        try:
            with explain_killed_workers("use fewer: --workers 1"):
                yield from pool.map(work_on, ids)
            is_done = True
        finally:  # when all is done, nothing waits for the processes to take themselves apart; else none may go on
            pool.shutdown(wait=not is_done, cancel_futures=True)


@contextmanager
def explain_killed_workers(remedy: str) -> Iterator[None]:
    """Say what to do about a process that the system has killed."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ResourceError(f"a worker process was killed, most often because memory ran out; {remedy}") from error


_adopted: list[Callable[[Any], Any]] = []


def _adopt(shared: Path) -> None:
    """Read a process's work, when it starts."""
    _leave_to_parent(shared.parent)
    with suppress(FileNotFoundError):  # the others have done everything by now
        _adopted[:] = [pickle.loads(shared.read_bytes())]


def begin_worker(make: Callable[..., Callable[[Any], Any]], *parts: Any) -> None:
    """Make a process's work, when it starts."""
    _leave_to_parent()
    _adopted[:] = [make(*parts)]


def _leave_to_parent(shared: Path | None = None) -> None:
    """Leave Ctrl-C to the process that started this one, and end when that is killed: nothing else would end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := parent_process()) is not None:
        Thread(target=_end_after, args=(parent, shared), daemon=True).start()


def _end_after(parent: Any, shared: Path | None) -> None:
    parent.join()
    if shared is not None:
        rmtree(shared, ignore_errors=True)
    os._exit(1)


def work_on(task: Any) -> Any:
    """Do a task in a process that has begun."""
    return _adopted[0](task)
