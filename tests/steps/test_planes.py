"""Planes on disk: an interrupted prediction goes on, and what is there was predicted in one way."""

import json

import numpy as np
import pytest

from kaggle_unet.errors import DataError, LockedError
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps import predict
from kaggle_unet.store.planes import planes_folder, write_planes
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
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


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


def predict_zeros(folder, about, ids):
    """Write planes of zeros, and return the ids that were done before."""
    with planes_folder(folder, about, ids) as done:
        for id_ in ids:
            write_planes(folder, id_, PLANES)
    return done


def interrupt(folder, about, ids):
    """Begin a prediction and stop at once; return the ids that were done before."""
    with pytest.raises(KeyboardInterrupt), planes_folder(folder, about, ids) as done:
        raise KeyboardInterrupt
    return done


def test_planes_of_another_prediction_are_removed_and_foreign_files_are_not(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"precious")
    predict_zeros(tmp_path, {"checkpoints": ["one"]}, "ab")

    assert interrupt(tmp_path, {"checkpoints": ["one"]}, "abc") == {"a", "b"}
    assert not (tmp_path / "planes.json").exists()
    assert interrupt(tmp_path, {"checkpoints": ["one"]}, "abc") == {"a", "b"}
    assert interrupt(tmp_path, {"checkpoints": ["two"]}, "abc") == set()
    assert [path.name for path in tmp_path.glob("*.npz")] == ["mine.npz"]


def test_damaged_planes_are_predicted_again(tmp_path):
    predict_zeros(tmp_path, {}, "ab")
    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:40])

    assert predict_zeros(tmp_path, {}, "ab") == {"b"}


def test_planes_of_images_that_are_no_longer_predicted_go(tmp_path):
    predict_zeros(tmp_path, {}, "ab")
    assert predict_zeros(tmp_path, {}, "b") == {"b"}

    assert json.loads((tmp_path / "planes.json").read_text()) == {"ids": ["b"]}
    assert sorted(contents(tmp_path)) == ["b.npz", "planes.json"]


@pytest.mark.parametrize("name", ["planes.json", "planes.begun.json"])
@pytest.mark.parametrize("id_", ["../victim", "sub/victim"])
def test_no_file_outside_the_folder_is_deleted_whatever_its_planes_json_says(tmp_path, name, id_):
    folder = tmp_path / "planes"
    predict_zeros(folder, {}, "a")
    (folder / "sub").mkdir()
    victim = folder / f"{id_}.npz"
    victim.write_bytes(b"precious")
    (folder / name).write_text(json.dumps({"ids": ["a", id_]}))

    with pytest.raises(DataError, match="victim' cannot name a file"):
        predict_zeros(folder, {"checkpoints": ["other"]}, "a")
    assert victim.read_bytes() == b"precious"
    assert (folder / "a.npz").exists()


def test_an_id_that_can_name_no_file_is_refused_before_anything_is_predicted(tmp_path):
    with (
        pytest.raises(DataError, match=r"sample '\.\./x' cannot name a file"),
        planes_folder(tmp_path / "new", {}, ["../x"]),
    ):
        pytest.fail("the block has begun")
    assert not (tmp_path / "new").exists()


def test_two_predictions_into_one_folder_do_not_mix(tmp_path):
    with planes_folder(tmp_path, {}, "a"), pytest.raises(LockedError, match="is in use by process"):
        predict_zeros(tmp_path, {}, "b")
    assert not (tmp_path / "b.npz").exists()


def test_a_folder_that_is_a_link_is_not_followed(tmp_path):
    predict_zeros(tmp_path / "real", {}, "a")
    before = contents(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(DataError, match="link is a symbolic link, which is not followed"):
        predict_zeros(tmp_path / "link", {}, "b")
    assert contents(tmp_path / "real") == before
