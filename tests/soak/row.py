"""What a part of the soak is judged by: one row per thing tried, with every fault by its kind."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

# wrong: another result without a word; hang: over the time that is promised; raw: a traceback, or no reason; outside: a
# file written or removed where none may be; orphan: a process that stays; litter: a temporary file that stays.
KINDS = ("wrong", "hang", "raw", "outside", "orphan", "litter", "memory")
_MOST_KEPT = 20


@dataclass
class Row:
    """Counts of one row, and the first faults of each kind."""

    part: str
    name: str
    promise: str
    n: int = 0
    done: int = 0
    refused: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    figures: str = ""
    seed: int = 0
    seconds: float = 0.0
    commit: str = ""
    date: str = ""

    def add(self, outcome: str, detail: str = "") -> None:
        """Count one try: `done`, `refused`, or one of the kinds of fault with what has happened."""
        self.n += 1
        if outcome in {"done", "refused"}:
            setattr(self, outcome, getattr(self, outcome) + 1)
            return
        assert outcome in KINDS, outcome
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if self.counts[outcome] <= _MOST_KEPT:
            self.faults.append(f"{outcome}: {' '.join(detail.split())[:400]}")

    @property
    def n_faults(self) -> int:
        """How many tries broke the promise."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Plan:
    """What all parts are given: the folder to work in, the seed, and how many tries a row has."""

    home: Path
    seed: int
    n: int | None = None
    quick: bool = False
    guided: bool = False

    def tries(self, full: int, quick: int) -> int:
        """How many tries a row has, unless the command line says it."""
        return self.n if self.n is not None else quick if self.quick else full


Part = Callable[[Plan], Iterator[tuple[str, Callable[[], Row]]]]  # names of rows, and what makes each


def read_rows(path: Path) -> list[Row]:
    """Read the rows that an interrupted soak has finished."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def keep_row(path: Path, row: Row) -> None:
    """Append a finished row."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def table(rows: list[Row]) -> str:
    """Render rows as a table."""
    lines = ["| part | row | tries | did its work | refused | faults |", "|---|---|---|---|---|---|"]
    for row in rows:
        faults = ", ".join(f"{n} {kind}" for kind, n in row.counts.items()) or "0"
        lines.append(f"| {row.part} | {row.name} | {row.n:,} | {row.done:,} | {row.refused:,} | {faults} |")
    return "\n".join(lines)
