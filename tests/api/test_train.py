"""Training on samples in memory."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import kaggle_unet as ku
from kaggle_unet.synthetic.files import write_folder
from tests.steps.conftest import call

CONFIG = {
    "folds": {"n": 2, "stratify": "none"},
    "model": {"name": "plain_unet", "filters": 4, "depth": 2},
    "augmentation": {"preset": "light", "crop_px": 32},
    "training": {"epochs": 1, "batch": 4},
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    write_folder(folder, 1, 6, shape=(48, 56))
    return folder


@pytest.fixture(scope="module")
def samples(cells):
    return ku.read_folder(cells)


@pytest.fixture(scope="module")
def run(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    runs = [ku.train(CONFIG, samples, fold, folder=folder) for fold in (0, 1)]
    assert runs[0] == runs[1]
    return runs[0]


def test_folds_that_are_trained_into_one_folder_are_one_run(run, samples):
    model = ku.load(run)
    assert len(model._ensemble.models) == 2
    assert model.segment(samples[0].image).shape == (48, 56)


def test_the_run_is_that_of_the_command_line_on_the_same_files(run, cells, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump({"competition": {"name": "folder"}, **CONFIG}))
    places = ("--store", tmp_path / "store", "--run", tmp_path / "run")
    for words in (("make-targets", config, "--data", cells, *places[:2]), ("train", config, "--fold", 0, *places)):
        answer = call(*words)
        assert answer.code == 0, answer.err
    mine, theirs = ku.load(run / "fold0"), ku.load(tmp_path / "run" / "fold0")
    image = ku.read_folder(cells)[0].image
    np.testing.assert_array_equal(mine.predict(image), theirs.predict(image))


def test_a_fold_that_was_cut_short_before_its_scores_goes_on_if_told_to(samples, tmp_path):
    run = ku.train(CONFIG, samples, folder=tmp_path)
    result = run / "fold0" / "result.json"
    before = result.read_text()
    result.unlink()
    with pytest.raises(ku.ConfigError, match="resume=True in Python"):
        ku.train(CONFIG, samples, folder=tmp_path)
    assert ku.train(CONFIG, samples, folder=tmp_path, resume=True) == run
    assert json.loads(result.read_text())["oof_score"] == json.loads(before)["oof_score"]


def test_the_run_can_be_tuned(run):
    found = ku.tune(run, trials=4)
    assert found["images"] == 6
    assert (run / "decode.yaml").exists()


@pytest.mark.parametrize("trials", [0, -1])
def test_a_search_without_trials_is_refused_before_it_begins(run, trials, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ku.ConfigError, match=f"trials is {trials}; expected at least 1"):
        ku.tune(run, trials=trials)
    assert sorted(tmp_path.rglob("*")) == before


def test_images_of_sixteen_bits_train_as_those_of_eight(samples, run, tmp_path):
    deep = [replace(sample, image=sample.image.astype(np.uint16) * 257) for sample in samples]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"competition": {"name": "folder"}, **CONFIG}))
    again = ku.train(path, deep, folder=tmp_path / "deep")
    image = samples[0].image
    deep_image = deep[0].image
    planes = ku.load(again / "fold0").predict(deep_image), ku.load(run / "fold0").predict(image)
    np.testing.assert_allclose(*planes, atol=0.02)  # augmentation rounds to other gray levels


def test_other_samples_into_the_same_folder_are_refused(samples, run):
    brighter = [replace(samples[0], image=samples[0].image + 1), *samples[1:]]
    with pytest.raises(ku.DataError, match="made for something else"):
        ku.train(CONFIG, brighter, folder=run.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda samples: [*samples, samples[0]], "'nuclei_000' occurs twice"),
        (lambda samples: [replace(samples[0], labels=None), *samples[1:]], "'nuclei_000' has no masks"),
        (
            lambda samples: [replace(samples[0], labels=samples[0].labels[1:]), *samples[1:]],
            r"labels of shape \(47, 56\)",
        ),
        (
            lambda samples: [replace(samples[0], labels=samples[0].labels / 2), *samples[1:]],
            "sample 'nuclei_000': labels of dtype float64",
        ),
        (
            lambda samples: [replace(samples[0], ignore=samples[0].labels / 2), *samples[1:]],
            "sample 'nuclei_000': ignore of dtype float64",
        ),
        (
            lambda samples: [samples[0], replace(samples[1], image=np.full((48, 56), np.nan)), *samples[2:]],
            "sample 'nuclei_001': the image has 2688 pixels that are NaN or infinite",
        ),
        (
            lambda samples: [replace(samples[0], image=np.zeros((0, 56))), *samples[1:]],
            "sample 'nuclei_000': the image has no pixels",
        ),
        (
            lambda samples: [replace(samples[0], image=samples[0].image.astype(complex)), *samples[1:]],
            "sample 'nuclei_000': the image is complex128",
        ),
        (lambda samples: [replace(samples[0], id=7), *samples[1:]], "sample 7: the id is int; expected text"),
        (lambda samples: [replace(samples[0], id="../x"), *samples[1:]], "'../x' cannot name a file"),
    ],
)
def test_samples_that_cannot_be_learnt_from_are_named(samples, change, message, tmp_path):
    with pytest.raises(ku.DataError, match=message):
        ku.train(CONFIG, change(samples), folder=tmp_path)


LAND = {"competition": {"name": "folder", "masks": "."}, "codec": {"name": "classes", "classes": ["soil", "water"]}}


@pytest.mark.parametrize(
    ("config", "labels", "ignore"),
    [
        ({}, np.tri(48, dtype=np.int32), np.ones((48, 48), np.bool_)),
        ({}, np.tri(48, dtype=np.int32), np.tri(48, dtype=np.bool_)),
        (LAND, np.full((48, 48), 255, np.int32), None),
        (LAND, 255 * np.tri(48, dtype=np.int32), None),
        (LAND, 1 + 254 * np.tri(48, dtype=np.int32), ~np.tri(48, dtype=np.bool_)),
    ],
    ids=["nothing counts", "no object counts", "no class is known", "one class is known", "no known class counts"],
)
def test_samples_in_which_nothing_counts_are_refused_before_training(config, labels, ignore, tmp_path):
    image = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)
    samples = [ku.Sample(str(number), image + number, labels, ignore=ignore) for number in range(4)]
    with pytest.raises(ku.DataError, match="none of the 2 training samples has an object in pixels that count"):
        ku.train({**CONFIG, **config}, samples, folder=tmp_path, accept_masks=True)
    assert not (tmp_path / "run" / "fold0" / "best.safetensors").exists()


def test_a_config_that_cannot_be_is_refused_before_any_work(samples, tmp_path):
    with pytest.raises(ku.ConfigError, match=r"training\.epoch is not a setting; did you mean training.epochs"):
        ku.train({**CONFIG, "training": {"epoch": 1}}, samples, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fold", "file"), [(-1, None), (-2, None), (2, None), ("all", None), (-1, "folds.csv")], ids=repr
)
def test_a_fold_that_is_none_is_refused_with_those_that_are(samples, fold, file, tmp_path):
    config = {"competition": {"name": "folder", "folds": file}, **CONFIG}
    with pytest.raises(ku.ConfigError, match=f"fold is {fold!r}; expected one from 0 to 1, or of competition.folds"):
        ku.train(config, samples, fold, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_masks_that_look_wrong_stop_unless_they_are_accepted(samples, tmp_path):
    specks = np.zeros((64, 64), np.int32)
    specks[::4, ::4] = np.arange(256).reshape(16, 16) + 1
    doubtful = [replace(sample, image=np.zeros((64, 64), np.uint8), labels=specks) for sample in samples]
    with pytest.raises(
        ku.DataError, match=r"the samples: half of the .* look at some masks, and pass accept_masks=True"
    ):
        ku.train(CONFIG, doubtful, folder=tmp_path)
    assert ku.train(CONFIG, doubtful, folder=tmp_path, accept_masks=True) == tmp_path / "run"
