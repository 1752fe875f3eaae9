"""Check every docstring that has numpydoc sections, and ask them of the public API; run by `scripts/check`.

Internal functions have one sentence, which ruff's D rules ask for. A docstring that lists some parameters must list
all, in order, with types.
"""

import ast
import re
import sys
from pathlib import Path

from numpydoc.hooks.validate_docstrings import parse_config, process_file

SECTION = re.compile(r"^\s*(Parameters|Returns|Yields|Attributes)\n\s*-{3,}$", re.MULTILINE)


def find_documented(path: Path) -> set[int]:
    """List the lines of definitions that have sections."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    documented = {node.lineno for node in nodes if SECTION.search(ast.get_docstring(node) or "")}
    decorated = {node.decorator_list[0].lineno for node in nodes if node.decorator_list and node.lineno in documented}
    return documented | decorated


def main() -> None:
    """Print what numpydoc finds, and end with 1 if there is anything."""
    config, found, n = parse_config("."), [], 0
    for path in sorted(Path("kaggle_unet").rglob("*.py")):
        lines = find_documented(path)
        n += len(lines)
        found += [
            " ".join(finding) for finding in process_file(path, config) if int(finding[0].rpartition(":")[2]) in lines
        ]
    print(*found, f"{n} documented definitions, {len(found)} findings", sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
