"""``python -m tests.notebooks``: execute docs/notebooks anew, and keep their outputs."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def execute(path: Path) -> Any:
    """Run a notebook from its first cell, in an empty folder and with this environment's commands on the PATH."""
    import nbformat  # of the extra docs, which the collection of tests does without
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        options = {"timeout": 600, "coalesce_streams": True, "record_timing": False}
        NotebookClient(notebook, resources=resources, **options).execute()
    return notebook


if __name__ == "__main__":
    from nbformat import write

    for file in NOTEBOOKS:
        write(execute(file), file)
