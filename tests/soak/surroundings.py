"""Bad surroundings: a full disk, no permission, another process, no network, tight limits, odd clocks.

Every verb of `tests.soak.kills` is run in each; it does its work to the same bytes, or refuses with a reason.
"""

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kaggle_unet.io.archive import LIMITS
from tests.soak.home import End, call, prepare, start_anew
from tests.soak.kills import VERBS, Verb, digest, fresh, go_on, in_folder, measure, scratch
from tests.soak.row import Plan, Row

PROMISE = "the same bytes, or a refusal that says why; the same command works when the cause is gone"
NOBODY = 65534


def _limit(which: int, most: int) -> Callable[[Path, random.Random], None]:
    return lambda _, rng: resource.setrlimit(which, (most, most))


def full_disk(work: Path, rng: random.Random) -> None:
    """Let no file grow beyond some bytes, which any write may meet."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = rng.choice((0, 100, 2_000, 20_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def no_memory(work: Path, rng: random.Random) -> None:
    """Leave some MiB of memory."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = now + rng.choice((1, 8, 32)) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def few_files(work: Path, rng: random.Random) -> None:
    """Open a few files at most at once, beside those that are open."""
    most = len(os.listdir("/proc/self/fd")) + rng.choice((0, 1, 2, 4, 8))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def read_only(work: Path, rng: random.Random) -> None:
    """Be a user who may read everything, and write nothing."""
    (work / "out").mkdir(exist_ok=True)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def unreadable(work: Path, rng: random.Random) -> None:
    """Be a user who may not read one of the files, and write everywhere."""
    victim = rng.choice(sorted(path for path in (work / "made").rglob("*") if path.is_file()))
    for path in work.rglob("*"):
        path.chmod(0o777)
    work.chmod(0o777)
    victim.chmod(0)
    read_only(work, rng)


def no_network(work: Path, rng: random.Random) -> None:
    """End at once where anything connects or looks up a name."""

    def refuse(*_: object) -> None:
        os.write(2, b"Traceback: the network was used")
        os._exit(1)

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


def still_clock(work: Path, rng: random.Random) -> None:
    """Stop the clocks."""
    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, partial(float, getattr(time, name)()))


def jumping_clock(work: Path, rng: random.Random) -> None:
    """Let the clock jump back and forth."""
    real = time.time
    time.time = lambda: real() + rng.uniform(-1e8, 1e8)  # type: ignore[assignment]


def other_disk(work: Path, rng: random.Random) -> None:
    """Have the temporary directory on another file system."""
    os.environ["TMPDIR"] = "/dev/shm"


def no_temporary_directory(work: Path, rng: random.Random) -> None:
    """Have no temporary directory, and no home."""
    os.environ.update(TMPDIR="/nowhere", HOME="/nowhere")


def odd_locale(work: Path, rng: random.Random) -> None:
    """Have a terminal without letters but ASCII."""
    import sys

    os.environ.update(LC_ALL="C", LANG="C")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="strict")  # type: ignore[union-attr]


def tiny_limits(work: Path, rng: random.Random) -> None:
    """Have the kit's own limits on what a file may declare near nothing."""
    for name in LIMITS:
        os.environ[f"KAGGLE_UNET_MAX_{name}"] = str(rng.choice((1, 50, 5_000)))


SURROUNDINGS: dict[str, Callable[[Path, random.Random], None]] = {
    "full disk": full_disk,
    "little memory": no_memory,
    "few open files": few_files,
    "no processes or threads": _limit(resource.RLIMIT_NPROC, 1),
    "nothing may be written": read_only,
    "a file may not be read": unreadable,
    "tiny limits of the kit": tiny_limits,
    "no network": no_network,
    "clock that stands": still_clock,
    "clock that jumps": jumping_clock,
    "temporary directory on another disk": other_disk,
    "no temporary directory, no home": no_temporary_directory,
    "terminal of ASCII": odd_locale,
}


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per surrounding, and those of two processes and of many threads of load."""
    for name in ("full disk", "no network") if plan.quick else SURROUNDINGS:
        yield name, partial(surround, name, plan)
    if not plan.quick:
        yield "two processes at once", partial(at_once, plan)
        yield "a disk of few MiB", partial(small_disk, plan)
        yield "fresh interpreter without caches", partial(without_caches, plan)


def verbs(plan: Plan) -> list[str]:
    """Choose the verbs of a row."""
    return ["make-targets"] if plan.quick else list(VERBS)


def surround(name: str, plan: Plan) -> Row:
    """Run every verb in bad surroundings, and again in good ones."""
    row, made, worsen = Row("surroundings", name, PROMISE), prepare(plan.home), SURROUNDINGS[name]
    with scratch(plan) as work:
        for number in range(plan.tries(full=2, quick=1)):
            for verb_name in verbs(plan):
                verb, rng = VERBS[verb_name], random.Random(f"{plan.seed}/{name}/{verb_name}/{number}")
                reference = measure(verb, made, work)
                fresh(made, work)
                end = call(in_folder(verb.words), before=lambda rng=rng: (os.chdir(work), worsen(work, rng)))
                row.add(*_judge(verb, work, end, reference.results, verb_name))
    return row


def _judge(verb: Verb, work: Path, end: End, results: dict[str, str], when: str) -> tuple[str, str]:
    outcome, said = end.verdict()
    if outcome == "refused":
        for path in work.rglob("*"):
            path.chmod(0o755)
        is_there = verb.once and digest(verb, work) == results
        if not is_there and (again := go_on(verb, work)).code:
            return "raw", f"{when}: the next call: exit {again.code}: {again.err[-200:]}; the first: {said}"
    if outcome in {"done", "refused"} and digest(verb, work) != results:
        return "wrong", f"{when}: other results; {said}"
    return outcome, f"{when}: {said}"


def at_once(plan: Plan) -> Row:
    """Run every verb twice at once: the second works or is told to wait, and the results are whole."""
    row, made = Row("surroundings", "two processes at once", PROMISE), prepare(plan.home)
    with scratch(plan) as work:
        for number in range(plan.tries(full=3, quick=1)):
            for name, verb in VERBS.items():
                reference = measure(verb, made, work)
                fresh(made, work)
                ends: list[End] = []
                rng = random.Random(f"{plan.seed}/{name}/{number}")

                def run(delay: float, verb: Verb = verb, ends: list[End] = ends) -> None:
                    ends.append(
                        call(in_folder(verb.words), before=lambda: (time.sleep(delay), os.chdir(work)), limit_s=240)
                    )

                threads = [threading.Thread(target=run, args=(delay,)) for delay in (0, rng.uniform(0, 0.3))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                outcomes = [end.verdict() for end in ends]
                worst = next((found for found in outcomes if found[0] not in {"done", "refused"}), outcomes[0])
                if worst[0] in {"done", "refused"}:
                    codes = sorted(end.code for end in ends)
                    is_whole = (
                        digest(verb, work) == reference.results
                        and codes[0] == 0
                        and codes[1] in {0, 2 if verb.once or verb.again else 0, 3, 5}
                    )
                    worst = ("done", "") if is_whole else ("wrong", f"ends {codes}: {ends[1].err[-200:]}")
                row.add(worst[0], f"{name}: {worst[1]}")
    shutil.rmtree(plan.home / "work", ignore_errors=True)
    return row


def small_disk(plan: Plan) -> Row:
    """Run every verb on a disk that gets full, enlarge that, and run it again; only who may mount disks can try it."""
    row, made = Row("surroundings", "a disk of few MiB", PROMISE), prepare(plan.home)
    mount = partial(subprocess.run, check=True, capture_output=True)
    with scratch(plan) as work:
        for name, verb in VERBS.items():
            reference = measure(verb, made, work)
            rng = random.Random(f"{plan.seed}/small disk/{name}")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                mount(["mount", "-t", "tmpfs", "-o", "size=64m", "none", work])
            except (OSError, subprocess.CalledProcessError):
                row.figures = "not tried: only root may mount a disk"
                return row
            try:
                shutil.copytree(made, work / "made")
                usage = shutil.disk_usage(work).used + rng.choice((2**12, 2**14, 2**16))
                mount(["mount", "-o", f"remount,size={usage}", work])
                end = call(in_folder(verb.words), before=lambda: os.chdir(work))
                mount(["mount", "-o", "remount,size=128m", work])
                row.add(*_judge(verb, work, end, reference.results, name))
            finally:
                mount(["umount", "-l", work])
    return row


def without_caches(plan: Plan) -> Row:
    """Start interpreters whose caches and home can't be written; loops are compiled in memory."""
    row, made = Row("surroundings", "fresh interpreter without caches", PROMISE), prepare(plan.home)
    with scratch(plan) as work:
        nowhere = {"HOME": "/proc/1", "NUMBA_CACHE_DIR": "/proc/1", "MPLCONFIGDIR": "/proc/1"}
        for name in ("make-targets", "convert", "vote"):
            verb = VERBS[name]
            reference = measure(verb, made, work)
            fresh(made, work)
            words = in_folder(verb.words)
            begin = partial(start_anew, words, **nowhere)
            end = call(words, before=lambda begin=begin: (os.chdir(work), begin()), limit_s=600)
            row.add(*_judge(verb, work, end, reference.results, name))
    return row
