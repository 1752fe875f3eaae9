"""`scripts/gpu-check` and its page; `.ci/run` runs the script itself."""

import json
import time

import pytest

from tests.gpu import check, page

BENCH = {
    "loops": {"real loop": {"images_per_s": 90.0}, "bare step": {"images_per_s": 100.0}},
    "ratios": {"real loop / bare step": 0.9, "bare step / plain fp32 loop": 2.5},
    "ceilings": {"matrix product": {"share": 0.125}, "memory copy": {"share": 0.5}},
}
MACHINE = {
    "name": "H1",
    "cores": 4,
    "python": "3.12.1",
    "torch": "2.15",
    "smp": "0.6",
    "commit": "abc",
    "date": "2027-01-01",
}


def test_the_page_is_made_of_what_was_kept():
    assert page.PAGE.read_text() == page.render(json.loads(page.PLACE.read_text())), (
        "run python -m tests.gpu.page --write"
    )


def test_the_page_says_whether_a_gpu_was_ever_seen():
    kept = json.loads(page.PLACE.read_text())
    kept.pop("cuda", None)
    assert "Not yet run on CUDA" in page.render(kept)
    found = {
        "machine": MACHINE,
        "tests": {"passed": 7},
        "submit": {"error": "stopped, the time was up"},
        "bench": {"net": BENCH, "late": {"error": "not run, the time was up"}},
        "seconds": 400,
    }
    text = page.render({**kept, "cuda": found})
    assert "Not yet" not in text
    assert "Last run on CUDA: 2027-01-01, H1, 4 cores" in text
    assert "| net | 90.0 | 100.0 | 0.90 | 2.50 | 12.5% | 50.0% |" in text
    assert "| late | not run, the time was up |" in text
    assert "Tests: 7 passed." in text


def fail(_):
    raise ValueError("no")


@pytest.mark.parametrize(
    ("work", "left", "found"),
    [
        (lambda left: {"n": 1}, 9, {"n": 1}),
        (fail, 9, {"error": "ValueError: no"}),
        (lambda left: time.sleep(9), 1.5, {"error": "stopped, the time was up"}),
        (lambda left: {"n": 1}, 0, {"error": "not run, the time was up"}),
    ],
    ids=["done", "failed", "stopped", "late"],
)
def test_a_part_that_fails_or_is_late_says_why(work, left, found):
    assert check.attempt("part", work, time.monotonic() + left) == found


def test_a_gpu_measures_three_networks_each_preset_and_the_compiler():
    rows = list(check.rows("cuda"))
    assert len({name for name, *_ in rows}) == len(rows) == 9
    assert {each.augmentation.preset for _, each, _ in rows} == {"none", "light", "nuclei", "first_place"}
    assert [each.training.compile for _, each, _ in rows].count(True) == 3
