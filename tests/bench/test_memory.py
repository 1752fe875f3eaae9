import pytest

from tests.bench.memory import measure, render


def test_a_peak_is_that_of_the_process(tmp_path):
    peak, cpu_s = measure(["--version"], tmp_path)
    assert 10 < peak < 300  # and not of this one
    assert 0 < cpu_s < 30
    with pytest.raises(RuntimeError, match="check x ended with 2"):
        measure(["check", "x"], tmp_path)


def test_the_table_has_a_row_per_verb_and_a_column_per_set():
    table = render({(64, 4): {"train": 1200.4}, (128, 9): {"train": 13.6}})
    assert table.splitlines() == ["| verb | 4 × 64² | 9 × 128² |", "|---|---|---|", "| train | 1,200 | 14 |"]
