"""`second-level` on drawn competitions, and what `submit` takes from it."""

import json

import numpy as np
import pytest

from kaggle_unet.config import parse_config
from kaggle_unet.selection.second_level import find_candidates
from kaggle_unet.steps import second_level
from kaggle_unet.store import read_record
from tests.selection.test_second_level import draw
from tests.steps.conftest import call
from tests.steps.test_tune import doubtful  # noqa: F401  the fixture


def learn(trained, run, *words):
    return call("second-level", run, "--store", trained.store, "--workers", 1, *words)


def test_what_was_learnt_is_measured_written_and_taken_by_submit(trained, doubtful, tmp_path):  # noqa: F811
    answer = learn(trained, doubtful)
    if trained.name == "tgs":
        assert answer.code == 2
        assert "has no seeds" in answer.err
        return
    assert answer.code == 0, answer.err
    file = doubtful / "second_level" / "result.json"
    result = read_record(file, "")
    assert result["gain"] == pytest.approx(result["honest"] - result["before"])
    assert f"{result['honest']:.4f}" in answer.out
    assert np.mean([before for before, _ in result["per_image"].values()]) == pytest.approx(result["before"])

    again = learn(trained, doubtful, "--json")
    assert json.loads(again.out) == result

    words = ["--data", trained.test, "--checkpoint", doubtful / "fold0", "-o", tmp_path / "x.csv"]
    # An IoU above 1 is expected of nothing, so the second level leaves nothing.
    for changes, extra, is_taken, remark in (
        ({"is_used": False}, [], False, ""),
        ({}, [], True, ""),
        ({}, ["--second-level", "none"], False, ""),
        ({"is_used": False}, ["--second-level", doubtful / "second_level"], True, ""),
        ({}, ["--set", "decode.min_seed_px=4"], False, "trained for another decoding"),
        ({"checkpoints": []}, [], False, "trained for other checkpoints"),
    ):
        file.write_text(json.dumps({**result, "is_used": True, "least_iou": 1.01, **changes}))
        answer = call("submit", trained.config, *words, *extra)
        assert answer.code == 0, answer.err
        manifest = json.loads((tmp_path / "x.json").read_text())
        assert manifest["second_level"] == ("run/second_level" if is_taken else None)
        assert (manifest["objects"] == 0) == is_taken
        assert remark in answer.err
        assert bool(remark) == any("not used" in warning for warning in manifest["warnings"])


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
    assert "has no second level" in answer.err


def test_no_image_is_scored_with_what_was_learnt_from_it(monkeypatch):
    rng = np.random.default_rng(0)
    config = parse_config("competition: {name: dsb2018}", ["codec.name=mask_border"])
    known = []
    for number in range(8):
        labels, planes = draw(rng)
        candidates = find_candidates(config.decoder, planes)
        image = np.full(labels.shape, number, np.uint8)
        known.append(
            second_level._Known(
                f"{number}", f"{number}", image, labels, candidates, np.full(len(candidates.objects), number)
            )
        )
    number_of = {image.candidates.objects.tobytes(): int(image.id) for image in known}
    scored = []

    class Spy:
        def __init__(self, numbers):
            self.numbers = numbers

        @classmethod
        def fit(cls, features, ious, names, *, seed):
            return cls({int(number) for number in ious})

        def predict(self, features):
            scored.append((number_of[features.tobytes()], self.numbers))
            return np.zeros(len(features))

    study = second_level._Study(config, known, [number % 4 for number in range(8)])
    monkeypatch.setattr(second_level, "Regressor", Spy)
    study.find_least_iou(1)
    assert {number for number, _ in scored} == {0, 2, 3, 4, 6, 7}
    for number, learnt_from in scored:
        assert number not in learnt_from
        assert not learnt_from & {1, 5}  # the part that is to be scored later
        assert len(learnt_from) == 4
    assert study.fit(2).numbers == {0, 1, 3, 4, 5, 7}
