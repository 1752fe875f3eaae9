"""The notebooks of the docs run from the first cell to the last."""

import pytest

pytestmark = pytest.mark.notebook


@pytest.mark.parametrize("name", ["own_images", "dsb2018"])
def test_a_notebook_runs_to_its_end_and_its_kept_outputs_are_small(repository, name):
    import nbformat

    from tests.notebooks import execute

    path = repository / "docs/notebooks" / f"{name}.ipynb"
    kept = nbformat.read(path, as_version=4)
    done = execute(path)
    assert path.stat().st_size < 200_000
    shown = [
        [[output.output_type for output in cell.get("outputs", ()) if output.output_type != "stream"] for cell in cells]
        for cells in (kept.cells, done.cells)
    ]
    assert shown[0] == shown[1]
