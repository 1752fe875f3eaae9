"""Planes on disk: an interrupted prediction goes on, and what is there was predicted in one way."""

import json

import numpy as np
import pytest

from kaggle_unet.errors import DataError, LockedError, ResourceError
from kaggle_unet.store.planes import describe_planes, planes_folder, round_planes, write_planes
from kaggle_unet.types import Shard


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


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

    assert describe_planes(tmp_path) == {"ids": ["b"]}
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


@pytest.mark.parametrize("name", ["a.npz", "planes.json"])
def test_a_folder_in_the_way_of_planes_is_named(tmp_path, name):
    predict_zeros(tmp_path, {}, "ab")
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ResourceError, match=rf"{name}: .*; a folder of that name is there; remove it"):
        predict_zeros(tmp_path, {"checkpoints": ["two"]}, "ab")


def test_planes_that_shards_are_predicting_are_left_alone(tmp_path):
    with planes_folder(tmp_path, {"checkpoints": ["one"]}, "abcd", shard=Shard(1, 2)):
        write_planes(tmp_path, "a", PLANES)
        refused = pytest.raises(LockedError, match="shards of another prediction")
        with refused, planes_folder(tmp_path, {"checkpoints": ["two"]}, "abcd", shard=Shard(2, 2)):
            pass
        with planes_folder(tmp_path, {"checkpoints": ["one"]}, "abcd", shard=Shard(2, 2)) as done:
            assert done == {"a"}
    assert not (tmp_path / "planes.json").exists()


def test_planes_are_rounded_as_numpy_rounds_to_half_precision():
    bits = np.random.default_rng(0).integers(0, np.float32(1).view(np.uint32), 1 << 20, dtype=np.uint32)
    halves = np.arange(1 << 14, dtype=np.uint16).view(np.float16).astype(np.float32)  # 0 to 2
    ties = (halves[1:] + halves[:-1]) / 2
    edges = np.concatenate([np.nextafter(ties, np.float32(0)), ties, np.nextafter(ties, np.float32(2)), halves])
    for values in (bits.view(np.float32), edges, np.float32([np.nan, 0, 1e-45, 1])):
        planes = values.reshape(1, 1, -1)
        with np.errstate(under="ignore"):
            wanted = planes.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(round_planes(planes), wanted)
