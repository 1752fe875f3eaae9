"""`export`: an ONNX file that is taken wherever a run is taken to predict, with the same planes and labels."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import torch

import kaggle_unet as ku
from kaggle_unet.data.inputs import prepare
from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps.build import load_ensemble
from kaggle_unet.store.planes import read_planes, round_planes
from tests.steps.conftest import Trained, call

folder_only = pytest.mark.parametrize("trained", ["folder"], indirect=True)


@pytest.fixture(scope="module")
def model(trained: Trained) -> Path:
    """Both folds in one file."""
    answer = call("export", trained.run, "-o", trained.home / "model.onnx")
    assert answer.code == 0, answer.err
    assert "checkpoints: 2" in answer.out
    return trained.home / "model.onnx"


def read_test_images(trained):
    name = trained.name
    return ku.read_folder(trained.test) if name == "folder" else ku.read_competition(name, trained.test)


def predict_exactly(ensemble, sample, inference):
    """Planes in float32, before they are rounded to half precision."""
    config = ensemble.config
    ((_, planes),) = predict_planes(
        ensemble.models,
        [(sample.id, prepare(sample.image, config.input, depth=sample.numbers.get("depth")))],
        settings=inference.model_copy(update={"pad_to_multiple": ensemble.pad_spec.multiple}),
        activation=config.decoder.codec.activation,
        device="cpu",
    )
    return planes


def test_planes_and_labels_are_those_of_the_run_in_float32(trained, model):
    config = ku.load_config(trained.run / "config.yaml")
    run, exported = load_ensemble([trained.run], config), load_ensemble([model])
    n_px = n_equal = 0
    for sample in read_test_images(trained):
        planes = predict_exactly(run, sample, config.inference)
        found = predict_exactly(exported, sample, exported.config.inference)
        np.testing.assert_allclose(found, planes, rtol=0, atol=1e-4)
        labels = ku.load(model).segment(sample.image, depth=sample.numbers.get("depth"))
        n_equal += (labels == config.decoder(round_planes(planes), sample.image)).sum()
        n_px += labels.size
    assert n_equal >= 0.999 * n_px


def test_it_is_taken_in_place_of_a_run_and_of_a_checkpoint(trained, model, tmp_path):
    for words, name in (((model,), "run.csv"), ((trained.run, "--checkpoint", model), "checkpoint.csv")):
        answer = call("submit", *words, "--data", trained.test, "-o", tmp_path / name)
        assert answer.code == 0, answer.err
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "checkpoint.csv").read_bytes()
    manifest = json.loads((tmp_path / "run.json").read_text())
    (checkpoint,) = manifest["checkpoints"]
    assert checkpoint["name"].endswith("model.onnx")


@folder_only
def test_segment_and_predict_take_it(trained, model, tmp_path):
    answer = call("segment", model, trained.test / "images", "-o", tmp_path / "segmented")
    assert answer.code == 0, answer.err
    answer = call("predict", model, "--data", trained.test, "--planes", tmp_path / "planes")
    assert answer.code == 0, answer.err
    exported = ku.load(model)
    for sample in ku.read_folder(trained.test):
        found = tifffile.imread(tmp_path / "segmented" / "labels" / f"{sample.id}.tif")
        np.testing.assert_array_equal(found, exported.segment(sample.image))
        np.testing.assert_array_equal(read_planes(tmp_path / "planes", sample.id), exported.predict(sample.image))


@folder_only
def test_tuned_decoding_and_weights_travel_in_the_file(trained, model, tmp_path):
    tuned = tmp_path / "decode.yaml"
    tuned.write_text("decode: {mask_threshold: 0.3}\npostprocess: {min_area_px: 7}\n")
    file = tmp_path / "tuned.onnx"
    options = ("--decode", tuned, "--set", "inference.weights=[3, 1]", "--set", "inference.mean=geometric")
    answer = call("export", trained.run, "-o", file, *options)
    assert answer.code == 0, answer.err
    loaded = ku.load(file)
    assert (loaded.config.decode.mask_threshold, loaded.config.postprocess.min_area_px) == (0.3, 7)
    assert loaded.config.inference.weights is None
    run = ku.load_config(trained.run / "config.yaml", ["inference.weights=[3, 1]", "inference.mean=geometric"])
    sample = read_test_images(trained)[0]
    planes = predict_exactly(load_ensemble([trained.run], run), sample, run.inference)
    found = predict_exactly(load_ensemble([file]), sample, loaded.config.inference)
    np.testing.assert_allclose(found, planes, rtol=0, atol=1e-4)
    plain = predict_exactly(load_ensemble([model]), sample, loaded.config.inference)
    assert np.abs(plain - planes).max() > 1e-3
    for words in ((file,), (trained.run, "--checkpoint", file)):
        answer = call("submit", *words, "--data", trained.test, "-o", tmp_path / "x.csv")
        assert json.loads((tmp_path / "x.json").read_text())["prediction"]["decode"]["mask_threshold"] == 0.3, (
            answer.err
        )


@folder_only
def test_the_numpy_example_of_the_docs_gives_the_planes(trained, model, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "onnx.md").read_text(encoding="utf-8")
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in code)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    sample = read_test_images(trained)[0]
    image = sample.image if sample.image.ndim == 2 else sample.image[..., 0]
    monkeypatch.chdir(model.parent)
    tifffile.imwrite("image.tif", image[:41])
    found = {}
    exec(example, found)
    exported = ku.load(model)
    planes = exported.predict(image[:41])
    assert list(found["planes"]) == list(exported.planes)
    np.testing.assert_allclose(
        np.stack(list(found["planes"].values())), planes, atol=2e-3
    )  # ours are in half precision
    assert found["labels"].shape == (41, image.shape[1])


@folder_only
def test_planes_of_another_codec_are_exported_as_such(trained, tmp_path):
    words = ("--set", "codec.name=mask", "--set", "weights.classes={}", "--set", "decode.border_threshold=0.5")
    answer = call("export", trained.run, "-o", tmp_path / "mask.onnx", *words)
    assert answer.code == 0, answer.err
    assert ku.load(tmp_path / "mask.onnx").planes == ("mask",)


@folder_only
def test_the_metadata_say_how_to_use_the_graph(model):
    properties = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    about = json.loads(properties["kaggle_unet"])
    assert about["config"]["input"]["normalize"] == "percentile"
    assert (about["planes"], about["activation"], about["multiple"]) == (["mask", "border"], "sigmoid", 4)
    assert len(about["checkpoints"]) == 2
    assert about["largest_difference"] <= 1e-4
    assert model.parent.as_posix() not in properties["kaggle_unet"]


@folder_only
def test_a_network_whose_graph_would_be_wrong_at_another_size_is_refused(trained, tmp_path, monkeypatch):
    forward = PlainUNet.forward
    monkeypatch.setattr(PlainUNet, "forward", lambda self, x: forward(self, x) + float(x.shape[-1]) / 64)
    answer = call("export", trained.run, "-o", tmp_path / "model.onnx")
    assert answer.code == 2
    assert "on another size its graph differs by" in answer.err
    assert list(tmp_path.iterdir()) == []


@folder_only
def test_a_network_that_has_no_graph_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(PlainUNet, "forward", lambda self, x: torch.linalg.svd(x)[0])
    answer = call("export", trained.run, "-o", tmp_path / "model.onnx")
    assert answer.code == 2
    assert "this network can't be exported (" in answer.err
    assert answer.out == ""


@folder_only
def test_impossible_requests_are_refused(trained, model, tmp_path):
    for words, reason in (
        (("export", trained.run, "-o", tmp_path / "model.pt"), "must end in .onnx"),
        (("export", trained.run, "--checkpoint", model, "-o", tmp_path / "again.onnx"), "is exported already"),
        (("tune", model), "model.onnx: segment, submit and predict --data take exported files; give the run instead"),
        (("predict", model, "--oof"), "give the run instead"),
        (("submit", "none.onnx", "--data", trained.test, "-o", tmp_path / "x.csv"), "none.onnx: no such file"),
    ):
        answer = call(*words)
        assert answer.code in (2, 3), answer.err
        assert reason in answer.err
