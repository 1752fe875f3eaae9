"""Per-sample work over several processes."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

OnProgress = Callable[[str, int, int], None]


def map_samples(work: Callable[[str], Any], ids: Sequence[str], workers: int) -> Iterator[Any]:
    """Do per-sample work over several processes, in order."""
    if workers <= 1 or len(ids) < 64:  # a spawned interpreter costs about as much as this many samples
        yield from map(work, ids)
        return
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
        finally:  # when all is done, nothing waits for the processes to take themselves apart; else none may go on
            pool.shutdown(wait=not is_done, cancel_futures=True)


def with_progress(results: Iterator[Any], what: str, total: int, on_progress: OnProgress) -> Iterator[Any]:
    """Report progress while results are taken."""
    for done, result in enumerate(results, 1):
        on_progress(what, done, total)
        yield result


_adopted: list[Callable[[str], Any]] = []


def _adopt(shared: Path) -> None:
    """Read a process's work, when it starts."""
    with suppress(FileNotFoundError):  # the others have done everything by now
        _adopted[:] = [pickle.loads(shared.read_bytes())]


def _work_on(id_: str) -> Any:
    return _adopted[0](id_)
