"""`second-level` on drawn competitions, and what `submit` takes from it."""

import json

import numpy as np
import pytest

from tests.steps.conftest import call
from tests.steps.test_tune import doubtful  # noqa: F401  the fixture


def learn(trained, run, *words):
    return call("second-level", run, "--store", trained.store, "--workers", 1, *words)


def test_what_was_learnt_is_measured_written_and_taken_by_submit(trained, doubtful, tmp_path):  # noqa: F811
    answer = learn(trained, doubtful)
    if trained.name == "tgs":
        assert answer.code == 2
        assert "knows no seeds" in answer.err
        return
    assert answer.code == 0, answer.err
    file = doubtful / "second_level" / "result.json"
    result = json.loads(file.read_text())
    assert result["gain"] == pytest.approx(result["honest"] - result["before"])
    assert f"{result['honest']:.4f}" in answer.out
    assert np.mean([before for before, _ in result["per_image"].values()]) == pytest.approx(result["before"])

    again = learn(trained, doubtful, "--json")
    assert json.loads(again.out) == result

    words = ["--data", trained.test, "--checkpoint", doubtful / "fold0", "-o", tmp_path / "x.csv"]
    for is_used, extra, taken in (
        (False, [], None),
        (True, [], "run/second_level"),
        (True, ["--second-level", "none"], None),
        (False, ["--second-level", doubtful / "second_level"], "run/second_level"),
        (True, ["--set", "decode.min_seed_px=4"], None),  # was learnt for another decoding
    ):
        file.write_text(json.dumps({**result, "is_used": is_used}))
        answer = call("submit", trained.config, *words, *extra)
        assert answer.code == 0, answer.err
        assert json.loads((tmp_path / "x.json").read_text())["second_level"] == taken


def test_what_does_not_fit_is_refused(trained, doubtful, tmp_path):  # noqa: F811
    if trained.name == "tgs":
        return
    assert learn(trained, doubtful).code == 0
    words = ["--data", trained.test, "--checkpoint", doubtful / "fold0", "-o", tmp_path / "x.csv", "--second-level"]
    answer = call("submit", trained.config, *words, doubtful / "second_level", "--set", "decode.min_seed_px=4")
    assert answer.code == 2
    assert "another codec or decoding" in answer.err
    answer = call("submit", trained.config, *words, tmp_path)
    assert answer.code == 2
    assert "can't be read" in answer.err
