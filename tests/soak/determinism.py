"""The same command, config and seed give the same bytes, whatever else differs."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.soak.home import call, prepare, start_anew
from tests.soak.kills import ALL, VERBS, WITH_WORKERS, Verb, digest, fresh, in_folder, measure, scratch
from tests.soak.row import Plan, Row

PROMISE = "the same config, data, seed and machine give the same bytes"
_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Kathmandu"}
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed 2": {"PYTHONHASHSEED": "2"},
    "locale C, another time zone": _ASCII,
    "OMP_NUM_THREADS=3, with training.threads: 1": {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"},
}
WORKERS: Mapping[str, Sequence[Sequence[str]]] = {
    "make-targets, two workers": [("--workers", "1"), ("--workers", "2"), ("--workers", "3")],
    "train, two workers": [("--set", f"training.workers={n}") for n in range(3)],
    "second-level": [("--workers", "1"), ("--workers", "2")],
}


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per thing that differs."""
    yield "called twice", partial(compare, "called twice", plan, lambda work, words: None)
    yield "files listed in another order", partial(compare, "files listed in another order", plan, _shuffle)
    if plan.quick:
        return
    yield "load beside it", partial(under_load, plan)
    yield "number of workers", partial(by_workers, plan)
    for name, environment in ENVIRONMENTS.items():
        yield name, partial(compare, name, plan, partial(_start_in, environment))


def _start_in(environment: Mapping[str, str], work: Path, words: Sequence[str]) -> None:
    start_anew(words, **environment)


class _Listing:
    """The entries of a folder in a random order, as `os.scandir` gives them."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self.entries = iter(random.Random(len(entries)).sample(entries, len(entries)))

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self.entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self.entries)

    def __enter__(self) -> "_Listing":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: all has been read."""


def _shuffle(work: Path, words: Sequence[str]) -> None:
    """List folders as another file system might."""
    scandir = os.scandir
    os.listdir = lambda *where: [entry.name for entry in _Listing(list(scandir(*where)))]  # type: ignore[assignment]
    os.scandir = lambda *where: _Listing(list(scandir(*where)))  # type: ignore[assignment]


def compare(name: str, plan: Plan, change: Callable[[Path, Sequence[str]], object]) -> Row:
    """Run every verb under a change, and compare with a call without."""
    row, made = Row("determinism", name, PROMISE), prepare(plan.home)
    with scratch(plan) as work:
        for number in range(plan.tries(full=1, quick=1)):
            for verb_name in ("make-targets", "vote") if plan.quick else VERBS:
                detail = f"{verb_name}, {number}"
                row.add(*_try(VERBS[verb_name], VERBS[verb_name].words, made, work, change, detail))
    return row


def _try(
    verb: Verb,
    words: Sequence[str],
    made: Path,
    work: Path,
    change: Callable[[Path, Sequence[str]], object],
    detail: str,
) -> tuple[str, str]:
    reference = measure(verb, made, work)
    fresh(made, work)
    words = in_folder(words)
    end = call(words, before=lambda: (os.chdir(work), change(work, words)), limit_s=600)
    outcome, said = end.verdict()
    found = digest(verb, work)
    if outcome == "done" and found != reference.results:
        differing = [key for key in reference.results | found if reference.results.get(key) != found.get(key)]
        return "wrong", f"{detail}: {differing[:5]} differ"
    return ("raw" if outcome == "refused" else outcome), f"{detail}: {said}"


def by_workers(plan: Plan) -> Row:
    """Run the verbs that have workers with several numbers of them."""
    row, made = Row("determinism", "number of workers", PROMISE), prepare(plan.home)
    with scratch(plan) as work:
        for name, choices in WORKERS.items():
            verb = ALL[name]
            begin = verb.words[:-2] if name in WITH_WORKERS else verb.words
            for more in choices:
                row.add(*_try(verb, [*begin, *more], made, work, lambda work, words: None, f"{name}: {more}"))
    return row


def under_load(plan: Plan) -> Row:
    """Run every verb beside two processes that do nothing but compute."""
    busy = [os.fork() for _ in range(2)]
    if 0 in busy:
        while os.getppid() != 1:
            for _ in range(10**6):
                pass
        os._exit(0)
    try:
        return compare("load beside it", plan, lambda work, words: None)
    finally:
        for process in busy:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        time.sleep(0.1)
