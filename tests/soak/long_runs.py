"""Long work in a fresh process: its memory, open files and temporary files do not grow."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import psutil

from kaggle_unet.synthetic.files import write_dsb_zip
from tests.soak.home import call, nothing, prepare, start_anew, words_of
from tests.soak.kills import RUN, fresh, in_folder, scratch
from tests.soak.row import Plan, Row

FLAT = "memory stays within 2 % after its first third, open and temporary files stay as many"
PEAK = "it ends; the peak of its resident memory is stated"
MOST_GROWTH = 0.02
LIMIT_S = 4 * 3600


@dataclass
class Meter:
    """What a process and its workers take, five times a second."""

    temporary: Path
    waits_for: bytes
    rss: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def __call__(self, number: int) -> None:
        """Add a reading, unless the process has just ended."""
        if self.waits_for not in words_of(number):  # until then it is a copy of the soak
            return
        try:
            process = psutil.Process(number)
            rss = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
            n_files = process.num_fds() + sum(len(names) for _, _, names in os.walk(self.temporary))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        self.rss.append(rss)
        self.files.append(n_files)

    def growth(self, values: Sequence[int]) -> float:
        """Return by how much the maximum of the last third exceeds that of the second."""
        third = len(values) // 3
        if third == 0:
            return 0.0
        return max(values[2 * third :]) / max(values[third : 2 * third]) - 1


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per long run, and one per verb and size of images with its peak."""
    n_tiles, n_epochs = (20, 6) if plan.quick else (18_000, 200)
    train = ("train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run")
    submit = ("submit", RUN, "--data", "tiles.zip", "-o", "out/x.csv", "--set", "inference.flips=none")
    predict = ("predict", RUN, "--data", "tiles.zip", "--planes", "out/planes", "--set", "inference.flips=none")
    runs = {
        f"submit: {n_tiles:,} tiles of 101 x 101": submit,
        f"train: {n_epochs} epochs": (*train, "--set", f"training.epochs={n_epochs}"),
        f"predict: {n_tiles:,} tiles of 101 x 101": predict,
    }
    for name, words in list(runs.items())[: 1 if plan.quick else None]:
        yield name, partial(last, name, words, n_tiles, plan)
    for side, n in () if plan.quick else ((256, 20), (256, 200), (1024, 20)):
        yield f"peaks: {n} images of {side} x {side}", partial(peak, side, n, plan)


def last(name: str, words: Sequence[str], n_tiles: int, plan: Plan) -> Row:
    """Run a verb for long, and compare the parts of its time."""
    row, made = Row("long runs", name, FLAT), prepare(plan.home)
    with scratch(plan) as work:
        fresh(made, work)
        (work / "tmp").mkdir()
        if "tiles.zip" in words:
            write_tiles(work, plan.seed, n_tiles)
        meter, outcome, said = run(words, work, is_quick=plan.quick)
        growth, more = meter.growth(meter.rss), meter.growth(meter.files)
        row.figures = f"{max(meter.rss, default=0) / 2**20:.0f} MiB at most, {growth:+.1%} memory, {more:+.1%} files"
        if outcome == "done" and not plan.quick and (growth > MOST_GROWTH or more > MOST_GROWTH):
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
    meter = Meter(work / "tmp", b"" if is_quick else b"kaggle_unet")
    begin = nothing if is_quick else partial(start_anew, in_folder(words), TMPDIR=str(meter.temporary))
    end = call(in_folder(words), before=lambda: (os.chdir(work), begin()), watch=meter, limit_s=LIMIT_S)
    return meter, *end.verdict()


def peak(side: int, n: int, plan: Plan) -> Row:
    """State what the verbs of a whole pipeline take at most."""
    row, made, figures = Row("long runs", f"peaks: {n} images of {side} x {side}", PEAK), prepare(plan.home), []
    with scratch(plan) as work:
        fresh(made, work)
        (work / "tmp").mkdir()
        write_dsb_zip(work / "train.zip", plan.seed, n, shape=(side, side))
        write_dsb_zip(work / "test.zip", plan.seed + 1, n, shape=(side, side), with_masks=False)
        config, run_folder = "made/config.yaml", "out/run"
        for words in (
            ("make-targets", config, "--data", "train.zip", "--store", "out/store", "--workers", "2"),
            ("train", config, "--fold", "0", "--store", "out/store", "--run", run_folder),
            ("predict", run_folder, "--data", "test.zip", "--planes", "out/planes"),
            ("submit", run_folder, "--data", "test.zip", "-o", "out/x.csv"),
            ("segment", run_folder, "test.zip", "-o", "out/labels"),
            ("score", run_folder),
            ("report", run_folder, "-o", "out/report.html"),
        ):
            meter, outcome, said = run(words, work)
            row.add("raw" if outcome == "refused" else outcome, f"{words[0]}: {said}")
            figures.append(f"{words[0]} {max(meter.rss) / 2**20:.0f} MiB")
    row.figures = ", ".join(figures)
    return row
