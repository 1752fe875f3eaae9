"""Commands stopped at any moment: the next call goes on to the same bytes, and nothing stays behind.

Half of the kills come at a moment of the clock, half at a rename: before it, when the temporary file is whole, or
behind it.
"""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from kaggle_unet.models.checkpoint import load_checkpoint
from tests.soak.fuzz import freeze
from tests.soak.home import End, call, kill_worker, prepare, send
from tests.soak.row import Plan, Row

LIMIT_S = 2  # from a signal to the end
KILLED = "after a kill at any moment, the same command ends with the same bytes and leaves no temporary file or process"
WORKER = "a worker that the system kills ends the command with the reason, or is not missed; the same command goes on"
STOPPED = f"after Ctrl-C or SIGTERM it ends within {LIMIT_S} s, says what is kept, and goes on to the same bytes"


@dataclass(frozen=True)
class Verb:
    """A command in a folder that holds a copy of the experiment, what it writes, and what goes on after a kill.

    With `once` it refuses to write what is there.
    """

    words: Sequence[str]
    results: Sequence[str]
    again: Sequence[str] = ()
    once: bool = False


RUN, TEST, PLAIN = "made/run", "made/test.zip", ("--second-level", "none")
VERBS = {
    "make-targets": Verb(
        ("make-targets", "made/config.yaml", "--data", "made/train.zip", "--store", "out/store", "--preview", "2"),
        ("out/store/**/*.npz", "out/store/folds.csv", "out/store/**/*.png"),
    ),
    "train": Verb(
        ("train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run"),
        ("out/run/fold0/*.safetensors", "out/run/folds.csv"),
        ("--resume",),
    ),
    "predict": Verb(("predict", RUN, "--data", TEST, "--planes", "out/planes"), ("out/planes/*.npz",)),
    "predict --oof": Verb(("predict", RUN, "--oof", "--set", "inference.flips=none"), (f"{RUN}/fold*/planes/*.npz",)),
    "submit": Verb(
        ("submit", RUN, "--data", TEST, "-o", "out/x.csv", "--labels", "out/labels"), ("out/x.csv", "out/labels/*")
    ),
    "segment": Verb(("segment", RUN, "made/folder/images", "-o", "out"), ("out/*.csv", "out/**/*.tif")),
    "tune": Verb(("tune", RUN, "--trials", "8"), (f"{RUN}/decode.yaml",)),
    "second-level": Verb(("second-level", RUN), (f"{RUN}/second_level/model.txt",)),
    "pseudo-label": Verb(
        ("pseudo-label", RUN, "--data", TEST, "--store", "out/store", "--confidence", "0"),
        ("out/store/samples/*.npz", "out/store/folds.csv"),
    ),
    "report": Verb(("report", RUN, "-o", "out/report.html"), ("out/report.html",)),
    "vote": Verb(
        ("vote", RUN, "--csv", "made/a.csv", "--csv", "made/b.csv", "--data", TEST, "-o", "out/vote.csv"),
        ("out/vote.csv",),
    ),
    "convert": Verb(("convert", "made/folder", "out/coco.json", "--to", "coco"), ("out/coco.json",)),
    "export": Verb(("export", RUN, "-o", "out/model.onnx"), ("out/model.onnx",)),
    "kernel": Verb(
        ("kernel", RUN, "--competition", "dsb2018", "-o", "out/kernel", "--image", "made/image.txt"),
        ("out/kernel/**/*",),
        once=True,
    ),
    "launch": Verb(("launch", "made/plan.yaml", "--folder", "out/launch"), ("store/**/*.npz", "store/**/folds.csv")),
    "init": Verb(("init", "out/new", "--data", "made/folder"), ("out/new/config.yaml",), once=True),
    "score": Verb(("score", RUN, "--table", "out/scores.csv"), ("out/scores*.csv",)),
}
WITH_WORKERS = {
    "make-targets, two workers": replace(
        VERBS["make-targets"],
        words=("make-targets", "made/config.yaml", "--data", "made/many.zip", "--store", "out/store", "--workers", "2"),
    ),
    "train, two workers": replace(
        VERBS["train"],
        words=(*VERBS["train"].words, "--set", "training.workers=2"),
    ),
}
ALL = VERBS | WITH_WORKERS


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield two rows per verb, and one where it has workers."""
    verbs = ("make-targets", "vote") if plan.quick else ALL  # killed trainings have a test of their own
    for name in verbs:
        yield name, partial(kill, name, plan)
    for name in verbs:
        yield f"{name}, signals", partial(interrupt, name, plan)
    for name in () if plan.quick else WITH_WORKERS:
        yield f"{name}, one of them killed", partial(lose_worker, name, plan)


@dataclass(frozen=True)
class Reference:
    """An uninterrupted call: its results, how long it took, and how many files it renamed."""

    results: dict[str, str]
    seconds: float
    n_renames: int


@cache
def measure(verb: Verb, made: Path, work: Path) -> Reference:
    """Run a verb to its end."""
    fresh(made, work)
    count = work / "count"
    end = call(in_folder(verb.words), before=lambda: (os.chdir(work), at_renames(lambda _: write_mark(count))))
    if end.code:
        msg = f"{verb.words[0]} ended with {end.code}: {end.err}"
        raise RuntimeError(msg)
    return Reference(digest(verb, work), end.seconds, count.stat().st_size if count.exists() else 0)


@contextmanager
def scratch(plan: Plan) -> Iterator[Path]:
    """Yield a folder to work in, always the same: results name it."""
    work = plan.home / "work"
    yield work
    shutil.rmtree(work, ignore_errors=True)


def write_mark(path: Path) -> None:
    """Add a byte to a file."""
    with path.open("ab") as file:
        file.write(b".")


def in_folder(words: Sequence[str]) -> list[str]:
    """Return the words of a command that is called in the folder it works in."""
    return ["-q", *words]


def fresh(made: Path, work: Path) -> None:
    """Copy the experiment; its run names the store by a path, so that one is shared."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made, work / "made")


def at_renames(then: Callable[[bool], object]) -> None:
    """Call something before (False) and behind (True) every rename."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        then(False)
        result = real(self, target)
        then(True)
        return result

    Path.replace = replace  # type: ignore[method-assign,assignment]


def die_at(number: int) -> Callable[[bool], None]:
    """Return what kills this process at the end of so many half steps."""
    steps = itertools.count(1)

    def step(_: bool) -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def kill(name: str, plan: Plan) -> Row:
    """Kill a verb, and call it again."""
    row, verb, made = Row("kills", name, KILLED), ALL[name], prepare(plan.home)
    with scratch(plan) as work:
        reference = measure(verb, made, work)
        for number in range(plan.tries(full=50, quick=2)):
            rng = random.Random(f"{plan.seed}/{name}/{number}")
            fresh(made, work)
            if number % 2 and reference.n_renames:
                at = rng.randrange(1, reference.n_renames + 1)
                end = call(in_folder(verb.words), before=lambda at=at: (os.chdir(work), at_renames(die_at(at))))
                when = f"rename {at} of {reference.n_renames}"
            else:
                seconds = rng.uniform(0.05, reference.seconds)
                stop = seconds, send(signal.SIGKILL)
                end, when = call(in_folder(verb.words), before=lambda: os.chdir(work), stop=stop), f"{seconds:.2f} s"
            row.add(*judge(verb, work, reference, f"kill {number} at {when}", end.orphans))
    return row


def judge(verb: Verb, work: Path, reference: Reference, when: str, orphans: int) -> tuple[str, str]:
    """Go on after a stop, and compare."""
    if orphans:
        return "orphan", f"{when}: {orphans} processes stay"
    if verb.once and digest(verb, work) == reference.results:
        return "done", ""
    outcome, said = go_on(verb, work).verdict()
    if outcome != "done":
        return ("raw" if outcome == "refused" else outcome), f"{when}: the next call: {said}"
    found = digest(verb, work)
    if found != reference.results:
        differing = [key for key in reference.results | found if reference.results.get(key) != found.get(key)]
        return "wrong", f"{when}: {differing[:5]} differ"
    left = [str(path.relative_to(work)) for path in work.rglob(".*.tmp")]
    return ("litter", f"{when}: {left[:3]}") if left else ("done", "")


def go_on(verb: Verb, work: Path) -> End:
    """Call a verb again."""
    has_begun = any((work / "out").glob("**/*.json"))
    return call(in_folder([*verb.words, *(verb.again if has_begun else ())]), before=lambda: os.chdir(work))


def digest(verb: Verb, work: Path) -> dict[str, str]:
    """Hash a verb's results: of a checkpoint its tensors, for it says when it was made."""
    files = sorted({file for pattern in verb.results for file in work.glob(pattern) if file.is_file()})
    return {
        str(file.relative_to(work)): repr(hash_tensors(file))
        if file.suffix == ".safetensors"
        else sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def hash_tensors(file: Path) -> str:
    """Hash a network's tensors."""
    return sha256(repr(freeze(load_checkpoint(file)["model"])).encode()).hexdigest()


def interrupt(name: str, plan: Plan) -> Row:
    """Send a verb SIGINT or SIGTERM, and call it again."""
    row, verb, made = Row("kills", f"{name}, signals", STOPPED), ALL[name], prepare(plan.home)
    with scratch(plan) as work:
        reference = measure(verb, made, work)
        for number in range(plan.tries(full=20, quick=1)):
            rng = random.Random(f"{plan.seed}/{name}/signal {number}")
            fresh(made, work)
            which, seconds = (signal.SIGINT, signal.SIGTERM)[number % 2], rng.uniform(0.05, reference.seconds)
            end = call(in_folder(verb.words), before=lambda: os.chdir(work), stop=(seconds, send(which)))
            when = f"{which.name} at {seconds:.2f} s"
            outcome, said = end.verdict()
            if outcome in {"raw", "hang"} or end.code not in {0, 130, 143}:
                row.add(outcome if outcome in {"raw", "hang"} else "raw", f"{when}: {said}")
            elif end.code and end.seconds - seconds > LIMIT_S:
                row.add("hang", f"{when}: {end.seconds - seconds:.1f} s to its end")
            elif end.code and "stopped by" not in end.err:
                row.add("raw", f"{when}: says nothing of what is kept: {said}")
            else:
                row.add(*judge(verb, work, reference, when, end.orphans))
    return row


def lose_worker(name: str, plan: Plan) -> Row:
    """Kill one of a verb's workers, and call it again."""
    row, verb, made = Row("kills", f"{name}, one of them killed", WORKER), ALL[name], prepare(plan.home)
    with scratch(plan) as work:
        reference = measure(verb, made, work)
        for number in range(plan.tries(full=20, quick=1)):
            fresh(made, work)
            seconds = random.Random(f"{plan.seed}/{name}/worker {number}").uniform(0.05, reference.seconds)
            end = call(in_folder(verb.words), before=lambda: os.chdir(work), stop=(seconds, kill_worker))
            outcome, said = end.verdict()
            if outcome == "refused":
                outcome, said = judge(verb, work, reference, f"{seconds:.2f} s", end.orphans)
                outcome = "refused" if outcome == "done" else outcome
            row.add(outcome, f"a worker killed after {seconds:.2f} s: {said}")
    return row
