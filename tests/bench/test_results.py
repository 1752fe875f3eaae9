import json

import pytest

from tests.bench import results
from tests.bench.results import Bar, summarise
from tests.bench.table import render_markdown, render_text
from tests.bench.write import main


def bench(ours_s, seconds, *, pixels=100, instances=10, case="small", absent=None):
    """Make what pytest-benchmark writes of one race."""
    info = {"operation": "sum", "case": case, "size": "10 × 10", "pixels": pixels, "instances": instances}
    info |= {"is_square": True, "seconds": seconds, "absent": absent or {}, "agreement": {}, "peak_bytes": 800}
    return {"extra_info": info, "stats": {"median": ours_s, "rounds": 5}}


def raw(*benches):
    """Make what pytest-benchmark writes of a run."""
    machine = {
        "cpu": {"brand_raw": "Abacus"},
        "processor": "",
        "system": "Linux",
        "release": "6",
        "python_version": "3",
    }
    commit = {"id": "0123456789abcdef", "dirty": False}
    return {"benchmarks": list(benches), "machine_info": machine, "commit_info": commit, "datetime": "2026-11-21T12:00"}


@pytest.fixture
def bars(monkeypatch):
    """One bar: the faster of two rivals, at every case."""
    monkeypatch.setattr(results, "BARS", (Bar("fast-sum", "sum", ("fast", "slow"), 3),))


def test_a_ratio_is_that_of_the_fastest_rival_on_the_worst_case(bars):
    found = summarise(
        raw(
            bench(1, {"fast": [5, 4, 40], "slow": [50], "other": [0.1]}, case="good"),
            bench(2, {"fast": [7], "slow": [6]}, case="worst", absent={"large": "needs 3 GiB"}),
        )
    )

    (row,) = found["ratios"]
    assert (row["operation"], row["rival"], row["ratio"], row["case"]) == ("fast-sum", "slow", 3, "worst")
    assert (row["ours_s"], row["rival_s"], row["at_least"]) == (2, 6, 3)
    assert (row["size"], row["instances"]) == ("10 × 10", 10)
    assert [one.get("absent") for one in found["measurements"]][-1] == "needs 3 GiB"
    assert len(found["measurements"]) == 8


def test_a_bar_counts_its_own_cases_only(monkeypatch):
    monkeypatch.setattr(results, "BARS", (Bar("fast-sum", "sum", ("fast",), 3, cases=("256²",)),))

    found = summarise(raw(bench(1, {"fast": [2]}, case="1024² × 10"), bench(1, {"fast": [4]}, case="256² × 10")))

    assert found["ratios"][0]["ratio"] == 4


def test_linear_time_grows_with_exponent_1(bars):
    found = summarise(raw(*(bench(pixels / 1000, {"fast": [1]}, pixels=pixels) for pixels in (100, 1600, 25600))))

    exponents = {row["contestant"]: row for row in found["exponents"] if row["against"] == "pixels"}
    assert exponents["kaggle-unet"]["exponent"] == pytest.approx(1)
    assert exponents["fast"]["exponent"] == pytest.approx(0)
    assert exponents["fast"]["at"] == {"instances": 10}
    assert [row for row in found["exponents"] if row["against"] == "instances"] == []  # one point is no slope


def test_make_targets_is_measured_against_the_median_decoding(bars):
    made = {"extra_info": {"operation": "make-targets", "decode_s": [9, 10, 30], "processes": 2, "samples": 664}}

    found = summarise(raw({**made, "stats": {"median": 14}}, bench(1, {"fast": [4]})))

    assert found["make_targets"]["ratio"] == 1.4
    assert "1.40 (14.0 s over 10.0 s; 664 samples, 2 processes), wanted under 1.5: met" in render_text(found)


def test_a_test_that_failed_is_left_out(bars):
    failed = {"extra_info": {}, "stats": {"median": 1, "rounds": 1}}

    assert summarise(raw(failed, bench(1, {"fast": [4]}))) == summarise(raw(bench(1, {"fast": [4]})))


def test_the_table_says_which_bars_are_met(bars):
    markdown = render_markdown(summarise(raw(bench(0.002, {"fast": [0.004]}))))

    assert "| fast-sum | fast | 2.0x | 3 | not met | small | 2 ms | 4 ms |" in markdown
    assert markdown.splitlines()[-1].startswith("Abacus, ")


def test_the_readmes_table_is_the_short_form_of_the_one_on_speed(bars):
    lines = render_markdown(summarise(raw(bench(0.002, {"fast": [0.004]})))).splitlines()

    assert lines[:3] == ["| operation | against | ratio |", "| --- | --- | --- |", "| fast-sum | fast | 2.0x |"]


def test_results_are_written(bars, tmp_path, capsys):
    (tmp_path / "raw.json").write_text(json.dumps(raw(bench(1, {"fast": [4]}))))

    main([str(tmp_path / "raw.json"), "--json", str(tmp_path / "out.json"), "--table", str(tmp_path / "table.md")])

    assert '"ratio": 4.0' in (tmp_path / "out.json").read_text()
    assert "| fast-sum |" in (tmp_path / "table.md").read_text()
    assert "fast-sum" in capsys.readouterr().out
