"""docs/reliability.md, rendered from docs/soak.json: the rows of the last full soak.

`python -m tests.soak.page ROWS.jsonl …` keeps the rows of finished soaks there; later files win, and docs/soak.json
among them stands for its old rows.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from tests.soak.row import Row, read_rows

ROOT = Path(__file__).parents[2]
KEPT, PAGE = ROOT / "docs" / "soak.json", ROOT / "docs" / "reliability.md"
TESTS: Mapping[str, str] = {
    "kills": "tests/soak/kills.py",
    "clusters": "tests/soak/clusters.py",
    "fuzz": "tests/soak/fuzz.py",
    "attacks": "tests/soak/attacks.py",
    "surroundings": "tests/soak/surroundings.py",
    "determinism": "tests/soak/determinism.py",
    "odd data": "tests/soak/odd_data.py",
    "broken CSVs": "tests/soak/broken_csvs.py",
    "long runs": "tests/soak/long_runs.py",
}
# Each promise with the part of the soak, or the test, that breaks where it does not hold.
PROMISES: Mapping[str, Sequence[str]] = {
    "The same config, data, seed and machine give the same bytes, whatever the number of workers, the load on the "
    "machine, the hash seed, the language of the terminal, and the order in which a disk lists its files.": (
        "determinism",
        "tests/steps/test_reproducible.py::test_two_runs_with_everything_switched_on_are_the_same_to_the_byte",
    ),
    "Nothing that is read can run code.": ("attacks", "tests/steps/test_trust_code.py"),
    "Outside the folders named on the command line, only the places listed in SECURITY.md are written.": (
        "attacks",
        "tests/test_promises.py::test_nothing_is_written_outside_the_named_folders_but_in_the_places_listed",
    ),
    "A command that is killed leaves the old files or the new ones, and the same command continues: at most the "
    "current epoch or image is lost. `submit` and `vote` start again, and say that `predict` can continue.": (
        "kills",
        "tests/steps/test_interrupted.py",
        "tests/store/test_atomic.py::test_a_fault_while_writing_leaves_the_old_file_and_no_temporary_one",
    ),
    "Ctrl-C and SIGTERM print what is kept and how to continue, within two seconds (`launch` when busy: five).": (
        "kills",
        "tests/test_promises.py::test_ctrl_c_says_what_goes_on_and_leaves_neither_processes_nor_files",
    ),
    "A plan ends with the same bytes on local processes, Ray and SLURM, whatever is killed, and nothing is done "
    "twice.": ("clusters", "tests/steps/test_clusters.py"),
    "No process is left behind.": (
        "kills",
        "tests/steps/test_parallel.py::test_when_the_parent_is_killed_its_workers_end_and_leave_no_folder",
    ),
    "No connection is opened unless a config asks for pretrained weights.": (
        "surroundings",
        "tests/test_promises.py::test_the_tests_and_what_they_start_have_no_network",
    ),
    "A damaged file is read as it was written, or refused by name; a submission that Kaggle would refuse is refused "
    "with the faulty lines.": ("fuzz", "odd data", "broken CSVs"),
    "Memory does not grow with the number of images; a file under 64 MiB takes at most 2 GiB, or is refused within ten "
    "seconds.": ("long runs", "attacks", "tests/inference/test_gpu.py::test_a_batch_that_fills_the_memory_is_halved"),
    "A wheel built twice is the same, and holds the files that git does.": (
        "tests/test_supply.py::test_a_wheel_built_twice_is_the_same_and_holds_what_git_does",
    ),
}
_COUNTED: Mapping[str, str] = {
    "kills": "stopped commands",
    "clusters": "disturbed plans",
    "fuzz": "damaged files",
    "attacks": "malicious files",
    "surroundings": "commands in adverse surroundings",
    "determinism": "repeated commands",
    "odd data": "odd data sets",
    "broken CSVs": "broken submissions",
}
_PLACES = re.compile(r"/\S*/(kaggle_unet|site-packages|python3\.\d+|work|made)/")
HEAD = """\
# Reliability

This page lists what can go wrong, what the kit promises in each case, and how often that was tried. `scripts/soak`
repeats everything (hours; `scripts/soak --quick` takes a minute or two and is part of `scripts/test`). A row's seed
gives the same inputs again. The page is rendered from [soak.json](soak.json) by `python -m tests.soak.page`; do not
edit it by hand.

There are seven kinds of fault:

- `wrong`: a different result without a message
- `hang`: the command took longer than promised
- `raw`: a traceback, a crash, or no reason given
- `outside`: a file that was not named was touched
- `orphan`: a process was left behind
- `litter`: a temporary file was left behind
- `memory`: more memory was used than promised

Damaged files are passed to the reader itself, half of them with repaired checksums, so that the damage gets past the
checksum tests. Commands are real processes. Each row has its commit, with a + if it had changes of the next one.
"""


def render(rows: Sequence[Row]) -> str:
    """Write the page."""
    count = {part: sum(row.n for row in rows if row.part == part) for part in TESTS}
    n_faults, hours = sum(row.n_faults for row in rows), sum(row.seconds for row in rows) / 3600
    dates = sorted({row.date for row in rows if row.date})
    text = [
        HEAD,
        f"In all, {n_faults:,} faults ({', '.join(dates) or 'undated'}; {hours:.1f} hours of a shared core) in\n",
        *(f"- {count[part]:,} {what}" for part, what in _COUNTED.items()),
        "",
        "## Promises\n",
        "| promise | tried by |",
        "|---|---|",
        *(f"| {promise} | {', '.join(map(_link, places))} |" for promise, places in PROMISES.items()),
        "",
    ]
    for (part, promise), group in groupby(rows, lambda row: (row.part, row.promise)):
        text += [f"## {part[0].upper()}{part[1:]}: {promise}\n", f"Tried by `{TESTS[part]}`.\n"]
        text += [
            "| fault or input | tries | did its work | refused | broken | seed | seconds | commit |",
            "|---|" + "---|" * 7,
        ]
        text += [*map(_line, group), ""]
    if known := [f"- {row.part}, {row.name}: {fault}" for row in rows for fault in row.faults]:
        text += ["## What is broken\n", "The first faults of each kind, as they were found:\n", *known, ""]
    return "\n".join(text)


def _link(place: str) -> str:
    """Name a part of the soak, or a test without its file."""
    return f"`{place.rpartition('::')[2]}`" if "/" in place else f"{place} below"


def _line(row: Row) -> str:
    broken = ", ".join(f"{n} {kind}" for kind, n in row.counts.items()) or "0"
    name = f"{row.name}: {row.figures}" if row.figures else row.name
    cells = [name, f"{row.n:,}", f"{row.done:,}", f"{row.refused:,}", broken, str(row.seed), f"{row.seconds:.0f}"]
    return f"| {' | '.join([*cells, row.commit])} |"


def read_kept() -> list[Row]:
    """Read the rows of the last full soak."""
    return [Row(**row) for row in json.loads(KEPT.read_text())]


def _read(path: Path) -> list[Row]:
    """Read rows, without the places of the machine that made them."""
    rows = read_kept() if path.absolute() == KEPT else read_rows(path)
    for row in rows:
        row.faults = [
            re.sub(r"/\S*/(kaggle_unet|site-packages|python3\.\d+|work|made)/", r"\1/", one) for one in row.faults
        ]
    return rows


def keep(files: Sequence[str]) -> None:
    """Keep the rows of these files, and render them."""
    found = {(row.part, row.name): row for file in files for row in _read(Path(file))}
    rows = sorted(found.values(), key=lambda row: (list(TESTS).index(row.part), row.promise))
    if rows:
        KEPT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    PAGE.write_text(render(read_kept()))


if __name__ == "__main__":
    keep(sys.argv[1:])
