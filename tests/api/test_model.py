"""Labels of an array, equal to those that the command line writes for the same image."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

import kaggle_unet as ku
from kaggle_unet.selection.second_level import Regressor
from kaggle_unet.store import write_record
from kaggle_unet.store.planes import read_planes
from tests.api.conftest import Tuned
from tests.steps.conftest import call


@pytest.fixture(scope="module")
def samples(tuned: Tuned) -> list[ku.Sample]:
    return ku.read_competition("dsb2018", tuned.test)


def test_labels_of_an_array_take_three_lines(tuned, samples):
    (image, *_), run = [sample.image for sample in samples], tuned.run
    import kaggle_unet as ku

    model = ku.load(run)
    labels = model.segment(image)
    assert labels.shape == image.shape
    assert labels.dtype == np.int32


def test_labels_are_those_of_submit(tuned, samples):
    checkpoints = [word for fold in (0, 1) for word in ("--checkpoint", tuned.run / f"fold{fold}")]
    answer = call("submit", tuned.config, "--data", tuned.test, *checkpoints, "-o", tuned.home / "x.csv")
    assert answer.code == 0, answer.err
    rles = ku.read_submission(tuned.home / "x.csv")
    model = ku.load(tuned.run)
    assert {sample.id: ku.rle.encode(model.segment(sample.image)) for sample in samples} == rles
    assert any(rles.values())


@pytest.mark.parametrize("place", ["fold0", "fold0/best.safetensors"])
def test_planes_are_those_of_predict(tuned, samples, place, tmp_path):
    planes = tmp_path / "planes"
    answer = call(
        "predict", tuned.config, "--data", tuned.test, "--checkpoint", tuned.run / "fold0", "--planes", planes
    )
    assert answer.code == 0, answer.err
    model = ku.load(tuned.run / place)
    for sample in samples:
        predicted = model.predict(sample.image)
        assert predicted.dtype == np.float32
        np.testing.assert_array_equal(predicted, read_planes(planes, sample.id))
    assert model.planes == ("interior", "border", "background")


def test_a_run_is_the_mean_of_its_folds(tuned, samples):
    image = samples[0].image
    folds = [ku.load(tuned.run / f"fold{fold}").predict(image) for fold in (0, 1)]
    assert (folds[0] != folds[1]).any()
    np.testing.assert_allclose(ku.load(tuned.run).predict(image), np.mean(folds, axis=0), atol=1e-3)


def test_the_decode_parameters_that_lie_in_the_run_are_used(tuned, samples, tmp_path):
    run = shutil.copytree(tuned.run, tmp_path / "run")
    found = yaml.safe_load((run / "decode.yaml").read_text())
    found["postprocess"]["min_area_px"] = 10_000
    (run / "decode.yaml").write_text(yaml.safe_dump(found))
    assert not ku.load(run).segment(samples[0].image).any()
    assert ku.load(run).config.postprocess.min_area_px == 10_000
    assert ku.load(tuned.run).segment(samples[0].image).any()
    found["checkpoints"] = ["0" * 64]
    (run / "decode.yaml").write_text(yaml.safe_dump(found))
    with pytest.warns(UserWarning, match="searched without"):
        ku.load(run)


@pytest.fixture(scope="module")
def full_range(samples):
    """An image whose darkest pixel is 0 and whose brightest is 255."""
    image = samples[0].image.astype(float)
    return np.round((image - image.min()) / (image.max() - image.min()) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda image: image.astype(np.uint16) * 257, id="uint16"),
        pytest.param(lambda image: image.astype(np.float32) / 255, id="float32 of 0 to 1"),
        pytest.param(lambda image: image.astype(np.float64) * 7 - 500, id="float64 of any range"),
        pytest.param(lambda image: np.stack([image] * 3, axis=2), id="equal colours"),
        pytest.param(lambda image: np.dstack([image] * 3 + [np.full_like(image, 255)]), id="with alpha"),
        pytest.param(np.asfortranarray, id="in another memory order"),
    ],
)
def test_other_pixel_formats_of_the_same_image_give_the_same_labels(tuned, full_range, convert):
    model = ku.load(tuned.run)
    np.testing.assert_allclose(model.predict(convert(full_range)), model.predict(full_range), atol=2e-3)


def test_floats_mean_fractions_of_the_range_where_the_config_says_so(tuned, full_range):
    model = ku.load(tuned.run)
    ranged = model.config.model_copy(update={"input": model.config.input.model_copy(update={"normalize": "range"})})
    model = replace(model, config=ranged, _ensemble=replace(model._ensemble, config=ranged))
    dim = full_range // 2
    np.testing.assert_allclose(model.predict(dim / 255), model.predict(dim), atol=2e-3)
    with pytest.raises(ku.DataError, match="the image runs from 0 to 255; expected 0 to 1"):
        model.predict(full_range.astype(np.float32))


def test_a_camera_s_12_bits_or_a_narrow_band_of_16_keep_all_their_gray_levels(tuned, full_range):
    model = ku.load(tuned.run)
    for camera in (full_range.astype(np.uint16) * 16, full_range.astype(np.uint16) * 14 + 33069):
        np.testing.assert_allclose(model.predict(camera), model.predict(full_range), atol=2e-3)


def test_the_second_level_that_lies_in_the_run_is_used(tuned, samples, tmp_path, monkeypatch):
    run = shutil.copytree(tuned.run, tmp_path / "run")
    answer = call("second-level", run, "--store", tuned.home / "store", "--workers", 1)
    assert answer.code == 0, answer.err
    result = json.loads((run / "second_level" / "result.json").read_text())
    write_record(run / "second_level" / "result.json", {**result, "is_used": True})
    monkeypatch.setattr(Regressor, "predict", lambda _, features: np.zeros(len(features)))
    assert not ku.load(run).segment(samples[0].image).any()
    assert ku.load(tuned.run).segment(samples[0].image).any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((8, 8), np.nan), "the image has 64 pixels that are NaN or infinite"),
        (np.full((8, 8), 2**40 + 1), "more than 32-bit floats can tell apart"),
        (np.zeros((8, 8), np.complex64), "the image is complex64"),
        (np.zeros((0, 0)), "the image has no pixels"),
        (np.zeros((8, 8, 7), np.uint8), "the image has 7 channels; choose with input.channels from channel0"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.zeros((0, 8), np.uint8), r"the image has no pixels .its shape is \(0, 8\)"),
    ],
)
def test_what_is_no_image_is_refused(tuned, image, message):
    with pytest.raises(ku.DataError, match=message):
        ku.load(tuned.run).segment(image)


def test_a_constant_image_has_planes(tuned):
    assert np.isfinite(ku.load(tuned.run).predict(np.full((40, 40), 0.5))).all()


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ku.DataError, match="nowhere"):
        ku.load(tmp_path / "nowhere")
    with pytest.raises(ku.DataError, match=tmp_path.name):
        ku.load(tmp_path)
