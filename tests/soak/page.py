"""docs/reliability.md, rendered from docs/soak.json: the rows of the last full soak.

`python -m tests.soak.page ROWS.jsonl …` keeps the rows of finished soaks there; later files win.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from tests.soak.row import Row, read_rows

ROOT = Path(__file__).parents[2]
KEPT, PAGE = ROOT / "docs" / "soak.json", ROOT / "docs" / "reliability.md"
TESTS: Mapping[str, str] = {
    "fuzz": "tests/soak/fuzz.py",
    "kills": "tests/soak/kills.py",
    "attacks": "tests/soak/attacks.py",
    "surroundings": "tests/soak/surroundings.py",
}
HEAD = """\
# Reliability

What goes wrong, what the kit promises then, and how often that was tried. `scripts/soak` tries everything again
(hours; `--quick` takes a minute or two and is part of `scripts/test`); a row's seed gives the same inputs. The page
is rendered from [soak.json](soak.json) by `python -m tests.soak.page`, never by hand.

A fault is `wrong`: another result without a word; `hang`: longer than promised; `raw`: a traceback, a crash, or no
reason; `outside`: a file touched that was not named; `orphan`: a process that stays; `litter`: a temporary file that
stays; `memory`: over 2 GiB above the idle process. Damaged files are read by the reader itself, half of them with
repaired checksums, so that the damage reaches what lies beneath; commands are real processes.
"""


def render(rows: Sequence[Row]) -> str:
    """Write the page."""
    n_inputs, n_kills = (sum(row.n for row in rows if row.part == part) for part in ("fuzz", "kills"))
    n_faults = sum(row.n_faults for row in rows)
    text = [HEAD, f"In all {n_inputs:,} damaged files and {n_kills:,} stopped commands: {n_faults:,} faults.\n"]
    for (part, promise), group in groupby(rows, lambda row: (row.part, row.promise)):
        text += [f"## {part.capitalize()}: {promise}\n", f"Tried by `{TESTS[part]}`.\n"]
        text += ["| fault or input | tries | did its work | refused | broken | seed |", "|---|---|---|---|---|---|"]
        for row in group:
            broken = ", ".join(f"{n} {kind}" for kind, n in row.counts.items()) or "0"
            text.append(f"| {row.name} | {row.n:,} | {row.done:,} | {row.refused:,} | {broken} | {row.seed} |")
        text.append("")
    if known := [f"- {row.part}, {row.name}: {fault}" for row in rows for fault in row.faults]:
        text += ["## What is broken\n", "The first faults of each kind, as they were found:\n", *known, ""]
    return "\n".join(text)


def read_kept() -> list[Row]:
    """Read the rows of the last full soak."""
    return [Row(**row) for row in json.loads(KEPT.read_text())]


def keep(files: Sequence[str]) -> None:
    """Keep the rows of these files, and render them."""
    found = {(row.part, row.name): row for file in files for row in read_rows(Path(file))}
    rows = sorted(found.values(), key=lambda row: (list(TESTS).index(row.part), row.promise))
    if rows:
        KEPT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    PAGE.write_text(render(read_kept()))


if __name__ == "__main__":
    keep(sys.argv[1:])
