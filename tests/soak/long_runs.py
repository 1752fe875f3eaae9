"""Long work in a fresh process: its memory, open files and temporary files do not grow."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import ZipFile

from kaggle_unet.synthetic.files import write_dsb_zip
from tests.soak.home import call, nothing, prepare, start_anew, words_of
from tests.soak.kills import RUN, fresh, in_folder, scratch
from tests.soak.row import Plan, Row

FLAT = "three times the work takes as much memory within 2 %, and as many open and temporary files"
MOST_GROWTH = 0.02
LIMIT_S = 4 * 3600


@dataclass
class Meter:
    """The most that a process takes: resident memory in bytes, and open files with those in a temporary folder."""

    temporary: Path
    waits_for: bytes
    peak: int = 0
    n_files: int = 0

    def __call__(self, number: int) -> None:
        """Take a reading, unless the process has not started yet, when it is a copy of the soak, or has ended."""
        if self.waits_for not in words_of(number):
            return
        with suppress(OSError, TypeError):  # it has just ended
            status = Path(f"/proc/{number}/status").read_text()
            self.peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 2**10  # type: ignore[index]
            n_temporary = sum(len(names) for _, _, names in os.walk(self.temporary))
            self.n_files = max(self.n_files, n_temporary + len(list(Path(f"/proc/{number}/fd").iterdir())))


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per long run."""
    tiles = ("--data", "tiles.zip", "--set", "inference.flips=none")
    train = ("train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run")
    n_tiles = 20 if plan.quick else 18_000
    yield (
        f"submit: {n_tiles:,} tiles of 101 x 101",
        partial(last, ("submit", RUN, "-o", "out/x.csv", *tiles), n_tiles, plan),
    )
    if plan.quick:
        return
    yield "train: 200 epochs", partial(last, train, 200, plan)
    yield (
        "predict: 18,000 tiles of 101 x 101",
        partial(last, ("predict", RUN, "--planes", "out/planes", *tiles), n_tiles, plan),
    )


def last(words: Sequence[str], n: int, plan: Plan) -> Row:
    """Run a verb for long, and for a third of that."""
    made, meters = prepare(plan.home), []
    name = f"{words[0]}: {n:,} {'epochs' if words[0] == 'train' else 'tiles of 101 x 101'}"
    row = Row("long runs", name, FLAT)
    with scratch(plan) as work:
        for part in (n // 3, n):
            fresh(made, work)
            if words[0] != "train":
                write_tiles(work, plan.seed, part)
            more = ("--set", f"training.epochs={part}") if words[0] == "train" else ()
            meter, outcome, said = run([*words, *more], work, is_quick=plan.quick)
            meters.append(meter)
            if outcome != "done":
                break
        a_third, whole = meters[0], meters[-1]
        growth = whole.peak / max(1, a_third.peak) - 1
        row.figures = f"{whole.peak / 2**20:.0f} MiB, {growth:+.1%}; {whole.n_files} files, before {a_third.n_files}"
        if outcome == "done" and not plan.quick and (growth > MOST_GROWTH or whole.n_files > a_third.n_files + 1):
            outcome = "memory"
        row.add("raw" if outcome == "refused" else outcome, f"{row.figures}: {said}")
    return row


def write_tiles(work: Path, seed: int, n: int) -> None:
    """Write a zip of many tiles, few of which are drawn."""
    write_dsb_zip(work / "few.zip", seed, 90, with_masks=False, shape=(101, 101))
    with ZipFile(work / "few.zip") as few, ZipFile(work / "tiles.zip", "w") as tiles:
        pictures = [few.read(name) for name in few.namelist()]
        for number in range(n):
            tiles.writestr(f"t{number}/images/t{number}.png", pictures[number % len(pictures)])


def run(words: Sequence[str], work: Path, *, is_quick: bool = False) -> tuple[Meter, str, str]:
    """Run a verb under a meter, in a fresh interpreter unless it is to be quick."""
    (work / "tmp").mkdir(exist_ok=True)
    meter = Meter(work / "tmp", b"" if is_quick else b"kaggle_unet")
    begin = nothing if is_quick else partial(start_anew, in_folder(words), TMPDIR=str(meter.temporary))
    end = call(in_folder(words), before=lambda: (os.chdir(work), begin()), watch=meter, limit_s=LIMIT_S)
    return meter, *end.verdict()
