"""The soak: every fault tried, seeded and resumable, a row per thing tried; what `scripts/soak` runs."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from subprocess import run

from tests.soak import attacks, broken_csvs, clusters, determinism, fuzz, kills, long_runs, odd_data, surroundings
from tests.soak.home import ROOT
from tests.soak.row import Part, Plan, Row, keep_row, read_rows, table

PARTS: dict[str, Part] = {
    "fuzz": fuzz.rows,
    "kills": kills.rows,
    "clusters": clusters.rows,
    "attacks": attacks.rows,
    "surroundings": surroundings.rows,
    "odd data": odd_data.rows,
    "broken CSVs": broken_csvs.rows,
    "determinism": determinism.rows,
    "long runs": long_runs.rows,
}
GIT = (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "-uno"))


def soak(plan: Plan, parts: list[str], only: str = "") -> list[Row]:
    """Try everything that an earlier call with this folder has not."""
    said = [run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False).stdout for words in GIT]
    commit = said[0].strip() + "+" * bool(said[1])
    kept = plan.home / f"rows-{plan.seed}{'-quick' if plan.quick else ''}{f'-{plan.n}' if plan.n else ''}.jsonl"
    plan.home.mkdir(parents=True, exist_ok=True)
    found = {(row.part, row.name): row for row in read_rows(kept)}
    for part in parts:
        for name, make in PARTS[part](plan):
            if (part, name) in found or only not in name:
                continue
            begin = time.monotonic()
            row = make()
            row.seed, row.seconds = plan.seed, round(time.monotonic() - begin, 1)
            row.commit, row.date = commit, time.strftime("%Y-%m-%d", time.gmtime())
            keep_row(kept, row)
            found[part, name] = row
            print(f"{part}: {name}: {row.n:,} tries, {row.n_faults} faults, {row.seconds:.0f} s", file=sys.stderr)
            for fault in row.faults:
                print(f"    {fault}", file=sys.stderr)
    return [row for row in found.values() if row.part in parts and only in row.name]


def main() -> None:
    """Read the command line, run the parts, print the table."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="a part; repeatable; all by default")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, help="tries of each row")
    parser.add_argument("--quick", action="store_true", help="a few tries of each row: seconds, not hours")
    parser.add_argument("--guided", action="store_true", help="fuzz where new code is reached: needs atheris")
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="where it works, and keeps finished rows")
    parser.add_argument("--json", type=Path, help="write all rows there")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", NO_ALBUMENTATIONS_UPDATE="1", CUDA_VISIBLE_DEVICES="")
    plan = Plan(arguments.folder.absolute(), arguments.seed, arguments.n, arguments.quick, arguments.guided)
    rows = soak(plan, arguments.part or list(PARTS), arguments.only)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    sys.exit(any(row.n_faults for row in rows))


if __name__ == "__main__":
    main()
