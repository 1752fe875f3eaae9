"""Planes on disk: an interrupted prediction goes on, and what is there was predicted in one way."""

import json

import numpy as np
import pytest

from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps import predict
from kaggle_unet.store.planes import begin_planes, finish_planes, write_planes
from tests.steps.conftest import call


@pytest.fixture
def shown(monkeypatch):
    """How many images networks are shown in each forward pass."""
    sizes, forward = [], PlainUNet.forward

    def watch(network, inputs):
        sizes.append(len(inputs))
        return forward(network, inputs)

    monkeypatch.setattr(PlainUNet, "forward", watch)
    return sizes


def predict_test(trained, folder, *words):
    words = ("--data", trained.test, "--checkpoint", trained.run / "fold0", "--planes", folder, "--set",
             "inference.batch=2", "--set", "inference.flips=none", *words)  # fmt: skip
    return call("predict", trained.config, *words)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_prediction_redoes_whole_batches_only_and_gives_the_same_planes(
    trained, tmp_path, monkeypatch, shown
):
    assert predict_test(trained, tmp_path / "whole").code == 0
    n_images = sum(shown)
    assert n_images >= 4

    write, written = predict.write_planes, []

    def fail_at_the_fourth(folder, id_, planes):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(id_)
        write(folder, id_, planes)

    with monkeypatch.context() as patched:
        patched.setattr(predict, "write_planes", fail_at_the_fourth)
        assert predict_test(trained, tmp_path / "cut").code != 0
    assert not (tmp_path / "cut" / "planes.json").exists()
    shown.clear()
    assert predict_test(trained, tmp_path / "cut").code == 0
    assert n_images - 3 < sum(shown) < n_images
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")

    shown.clear()
    assert predict_test(trained, tmp_path / "cut").code == 0
    assert not shown  # all is there
    assert predict_test(trained, tmp_path / "cut", "--set", "inference.batch=1").code == 0
    assert sum(shown) == n_images  # another batch moves last bits


PLANES = np.zeros((1, 2, 2), np.float32)


def test_planes_of_another_prediction_are_removed_and_foreign_files_are_not(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"precious")
    begin_planes(tmp_path, {"checkpoints": ["one"]}, "ab")
    for name in "ab":
        write_planes(tmp_path, name, PLANES)
    finish_planes(tmp_path)

    assert begin_planes(tmp_path, {"checkpoints": ["one"]}, "abc") == {"a", "b"}
    assert not (tmp_path / "planes.json").exists()
    assert begin_planes(tmp_path, {"checkpoints": ["one"]}, "abc") == {"a", "b"}  # interrupted at once
    assert begin_planes(tmp_path, {"checkpoints": ["two"]}, "abc") == set()
    assert [path.name for path in tmp_path.glob("*.npz")] == ["mine.npz"]


def test_damaged_planes_are_predicted_again(tmp_path):
    begin_planes(tmp_path, {}, "ab")
    for name in "ab":
        write_planes(tmp_path, name, PLANES)
    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:40])
    finish_planes(tmp_path)

    assert begin_planes(tmp_path, {}, "ab") == {"b"}


def test_planes_of_images_that_are_no_longer_asked_for_go(tmp_path):
    begin_planes(tmp_path, {}, "ab")
    for name in "ab":
        write_planes(tmp_path, name, PLANES)
    finish_planes(tmp_path)

    assert begin_planes(tmp_path, {}, "b") == {"b"}
    finish_planes(tmp_path)

    assert json.loads((tmp_path / "planes.json").read_text()) == {"ids": ["b"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.npz", "planes.json"]
