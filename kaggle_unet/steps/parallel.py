"""Per-sample work over several processes."""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from kaggle_unet.errors import ResourceError

OnProgress = Callable[[str, int, int], None]


def map_samples(
    work: Callable[[str], Any],
    ids: Sequence[str],
    workers: int,
    what: str = "samples",
    on_progress: OnProgress = lambda *_: None,
) -> Iterator[Any]:
    """Do per-sample work over several processes, in order, and report progress while results are taken."""
    is_alone = workers <= 1 or len(ids) < 64  # a spawned interpreter costs about as much as this many samples
    results = map(work, ids) if is_alone else _map_over_processes(work, ids, workers)
    for done, result in enumerate(results, 1):
        on_progress(what, done, len(ids))
        yield result


def _map_over_processes(work: Callable[[str], Any], ids: Sequence[str], workers: int) -> Iterator[Any]:
    # `work` holds the listing of a whole zip, some MB: each process reads it once, from a file; through a pipe, the
    # next one would start only when this one has imported everything. Samples go out one by one, for a single one may
    # have a hundred times the pixels of another.
    with TemporaryDirectory(prefix="kaggle-unet-") as folder:
        shared = Path(folder, "work.pickle")
        shared.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _adopt, (shared,))
        is_done = False
        try:
            yield from pool.map(_work_on, ids)
            is_done = True
        except BrokenProcessPool as error:
            msg = "a worker process was killed, most often because memory ran out; use fewer: --workers 1"
            raise ResourceError(msg) from error
        finally:  # when all is done, nothing waits for the processes to take themselves apart; else none may go on
            pool.shutdown(wait=not is_done, cancel_futures=True)


_adopted: list[Callable[[str], Any]] = []


def _adopt(shared: Path) -> None:
    """Read a process's work, when it starts."""
    Thread(target=_end_with_parent, args=(shared.parent,), daemon=True).start()
    with suppress(FileNotFoundError):  # the others have done everything by now
        _adopted[:] = [pickle.loads(shared.read_bytes())]


def _end_with_parent(folder: Path) -> None:
    """End this process if the one that started it is killed: nothing else would, as it waits for work."""
    if (parent := parent_process()) is not None:
        parent.join()
        rmtree(folder, ignore_errors=True)
        os._exit(1)


def _work_on(id_: str) -> Any:
    return _adopted[0](id_)
