"""`second-level` on drawn competitions, and what `submit` takes from it."""

import json
import shutil

import numpy as np
import pytest

from kaggle_unet.config import load_config, parse_config
from kaggle_unet.selection.second_level import Regressor, find_candidates
from kaggle_unet.steps import second_level
from kaggle_unet.steps.run import choose_decode_params
from kaggle_unet.store import Store, read_record, write_record
from kaggle_unet.store.planes import describe_planes, read_planes, write_planes
from tests.selection.test_second_level import draw
from tests.steps.conftest import call
from tests.steps.test_tune import doubtful  # noqa: F401  the fixture


def learn(trained, run, *words):
    return call("second-level", run, "--store", trained.store, "--workers", 1, *words)


def test_what_was_learnt_is_measured_written_and_taken_by_submit(trained, doubtful, tmp_path, monkeypatch):  # noqa: F811
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
    # Nothing is expected to be found, so the second level leaves nothing.
    monkeypatch.setattr(Regressor, "predict", lambda _, features: np.zeros(len(features)))
    for changes, extra, is_taken, remark in (
        ({"is_used": False}, [], False, ""),
        ({}, [], True, ""),
        ({}, ["--second-level", "none"], False, ""),
        ({"is_used": False}, ["--second-level", doubtful / "second_level"], True, ""),
        ({}, ["--set", "decode.min_seed_px=4"], False, "trained for another decoding"),
        ({"checkpoints": []}, [], False, "trained for other checkpoints"),
    ):
        file.write_text(json.dumps({**result, "is_used": True, **changes}))
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


def test_several_runs_are_averaged_as_tune_weights_them(trained, doubtful, tmp_path, monkeypatch):  # noqa: F811
    if trained.name == "tgs":
        return
    other = tmp_path / "other"
    shutil.copytree(doubtful, other)
    store = Store.open(trained.store)
    for folder in other.glob("fold*/planes"):  # surer than the first run, and of every image as if shifted by a pixel
        for id_ in describe_planes(folder)["ids"]:
            write_planes(folder, id_, np.roll(read_planes(folder, id_) * 1.5, 1, axis=2))
    answer = learn(trained, doubtful, "--with", other)
    assert answer.code == 2
    assert f"run kaggle-unet tune {doubtful} --with {other}" in answer.err
    answer = call("tune", doubtful, "--with", other, "--store", trained.store, "--trials", 10)
    assert answer.code == 0, answer.err
    (file,) = doubtful.glob("ensemble/*/decode.yaml")
    file.write_text(file.read_text().replace("../other:", "../other: 0.5 #"))
    answer = learn(trained, doubtful, "--with", other)
    assert answer.code == 0, answer.err
    assert str(file.parent / "second_level") in answer.out
    result = read_record(file.parent / "second_level" / "result.json", "")

    config, _ = choose_decode_params(load_config(trained.config), [doubtful, other], chosen=str(file))
    for id_, (before, _) in result["per_image"].items():
        fold = f"fold{next(n for n in (0, 1) if id_ in describe_planes(doubtful / f'fold{n}' / 'planes')['ids'])}"
        one, two = (read_planes(run / fold / "planes", id_) for run in (doubtful, other))
        mean, sample = ((one + 0.5 * two) / 1.5).astype(np.float16).astype(np.float32), store.read(id_)
        assert before == config.metric(sample.labels, config.decoder(mean, sample.image)).mean

    write_record(file.parent / "second_level" / "result.json", {**result, "is_used": True})
    monkeypatch.setattr(Regressor, "predict", lambda _, features: np.zeros(len(features)))
    words = ["submit", trained.config, "--data", trained.test, "-o", tmp_path / "x.csv"]
    words += ["--checkpoint", doubtful / "fold0", "--checkpoint"]
    assert call(*words, other / "fold1").code == 0
    manifest = json.loads((tmp_path / "x.json").read_text())
    assert manifest["second_level"] == f"run/ensemble/{file.parent.name}/second_level"
    assert manifest["objects"] == 0
    assert call(*words, doubtful / "fold1").code == 0  # of one run, which has no second level
    assert json.loads((tmp_path / "x.json").read_text())["second_level"] is None
    answer = call(*words, other / "fold1", "--decode", file, "--set", "inference.weights=[1, 0]")
    assert "trained for another decoding" in answer.err
    file.write_text(file.read_text().replace("0.5 #", "0.7 #"))
    answer = call(*words, other / "fold1")
    assert "trained for another decoding" in answer.err
    answer = learn(trained, doubtful, "--with", other, "--with", other)
    assert answer.code == 2
    assert "tune" in answer.err or "twice" in answer.err


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
                str(number), "", str(number % 4), image, labels, candidates, np.full(len(candidates.objects), number)
            )
        )

    class Spy:
        def __init__(self, numbers):
            self.numbers = numbers

        @classmethod
        def fit(cls, features, precisions, names, *, seed):
            return cls({int(number) for number in precisions})

        def predict(self, _):
            return self.numbers

    learnt_from = {}
    monkeypatch.setattr(second_level, "Regressor", Spy)
    monkeypatch.setattr(second_level, "choose", lambda _, numbers, __: numbers)
    monkeypatch.setattr(second_level, "_score", lambda _, image, numbers: learnt_from.update({image.id: numbers}) or 0)
    second_level._score_held_out(config, known, lambda *_: None)
    assert learnt_from == {str(number): set(range(8)) - {number % 4, number % 4 + 4} for number in range(8)}


def test_true_objects_are_counted_for_each_that_the_first_level_finds():
    rng = np.random.default_rng(0)
    config = parse_config("competition: {name: dsb2018}", ["codec.name=mask_border"])
    known, n_true = [], 0
    for number in range(4):
        labels, planes = draw(rng)
        candidates = find_candidates(config.decoder, planes)
        precisions = np.concatenate(
            [np.full(len(some), 0.25 if level == 0 else 1.0) for level, some in enumerate(candidates.features)]
        )
        known.append(second_level._Known(f"{number}", "", "", labels.astype(np.uint8), labels, candidates, precisions))
        n_true += int(labels.max())
    n_first = sum(len(image.candidates.features[0]) for image in known)
    assert second_level._fit(config, known)[1] == pytest.approx(n_true / (0.25 * n_first))


def test_nothing_is_said_of_missed_objects_where_none_is_found(trained, doubtful, monkeypatch):  # noqa: F811
    if trained.name == "tgs":
        return
    assert "\nmissed   " in learn(trained, doubtful).out
    monkeypatch.setattr(second_level, "true_precisions", lambda candidates, _: np.zeros(len(candidates.objects)))
    answer = learn(trained, doubtful)
    assert (answer.code, "\nmissed" in answer.out) == (0, False), answer.err + answer.out
