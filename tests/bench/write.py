"""``python -m tests.bench.write RAW [--json FILE] [--table FILE]``: what a run found, printed and kept."""

import argparse
import json
import sys
from pathlib import Path

from tests.bench.results import summarise
from tests.bench.table import render_markdown, render_text


def main(arguments=None):
    """Read pytest-benchmark's JSON and write ours."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("raw", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--table", help="write the tables of README.md and docs/speed.md here; - prints them")
    options = parser.parse_args(arguments)

    results = summarise(json.loads(options.raw.read_text()))
    print(render_text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if options.table == "-":
        print("\n" + render_markdown(results))
    elif options.table:
        Path(options.table).write_text(render_markdown(results) + "\n")


if __name__ == "__main__":
    sys.exit(main())
