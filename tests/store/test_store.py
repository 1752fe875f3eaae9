"""The store: resumed by what it is made from, complete or refused."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from kaggle_unet.errors import DataError
from kaggle_unet.store import Store, TargetSet, lock, write_record
from kaggle_unet.store.manifest import write_arrays
from kaggle_unet.types import Sample

IDENTITY = {"competition": {"name": "tgs", "skip": ["a", "b"]}, "source": "abc"}
TARGETS = {"codec": {"border": {"radius_px": 1}}, "weights": {}}
PLANES = np.ones((2, 3, 4), np.float32)


def sample(key="a", value=0):
    return Sample(key, np.full((3, 4), value, np.uint8), np.zeros((3, 4), np.int32))


def rows(*keys):
    return DataFrame({"id": keys, "fold": range(len(keys)), "kind": "seismic"})


def fill(store, *keys, targets=TARGETS, report=None):
    """Finish a store of these samples, and return its targets."""
    made = TargetSet(store.folder, targets)
    for key in keys:
        store.write(sample(key))
        made.write(key, PLANES)
    store.finish(made, rows(*keys), report or {})
    return made


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store", IDENTITY, {"version": "1", "data": "train.zip"})


def test_samples_and_targets_are_read_back(store):
    targets = fill(store, "a", "b")
    store.write(sample("a", 7))
    targets.write("b", PLANES * 0, np.full((3, 4), 2, np.float32))
    assert store.ids == ("a", "b")
    np.testing.assert_array_equal(store.read("a").image, np.full((3, 4), 7))
    planes, weights = targets.read("b")
    np.testing.assert_array_equal(planes, PLANES * 0)
    np.testing.assert_array_equal(weights, np.full((3, 4), 2))


def test_an_interrupted_store_is_continued(store, tmp_path):
    store.write(sample("a"))
    again = Store.create(tmp_path / "store", json.loads(json.dumps(IDENTITY)), {"version": "2"})
    assert again.read("a").id == "a"
    assert again.manifest["about"]["version"] == "1"


def test_target_sets_lie_beside_each_other_and_are_told_apart_by_what_made_them(store):
    first = fill(store, "a")
    other = {"codec": {"border": {"radius_px": 2}}, "weights": {}}
    assert not TargetSet(store.folder, other).is_complete
    assert store.target_identities() == [TARGETS]
    second = fill(store, "a", targets=other)
    second.write("a", PLANES * 0)
    assert first.read("a")[0].all()
    assert not second.read("a")[0].any()
    assert sorted(map(repr, store.target_identities())) == sorted(map(repr, (TARGETS, other)))
    assert TargetSet(store.folder, json.loads(json.dumps(TARGETS))).folder == first.folder


def test_a_set_of_targets_is_complete_when_its_store_is_finished(store):
    targets = TargetSet(store.folder, TARGETS)
    store.write(sample("a"))
    targets.write("a", PLANES)
    assert not targets.is_complete
    fill(store, "a")
    assert targets.is_complete


ABOUT = {"data": "x.zip", "checkpoints": "run/fold0"}
OTHER = {"competition": {"name": "tgs", "skip": ["a"]}}


def test_another_identity_is_refused_with_every_difference(store, tmp_path):
    fill(store)
    with pytest.raises(DataError, match="was made for something else; pass another --store or delete it") as caught:
        Store.create(tmp_path / "store", OTHER, {})
    assert caught.value.problems == (
        "competition.skip: was ['a', 'b'], is ['a']",
        "source: was 'abc', is None",
    )


def test_data_and_checkpoints_are_named_not_hashed_where_they_differ(tmp_path):
    fill(Store.create(tmp_path / "labelled", {"data": "ab", "labels": {"checkpoints": ["cd"]}}, ABOUT))
    other = {**ABOUT, "checkpoints": "run/fold1"}
    with pytest.raises(DataError) as caught:
        Store.create(tmp_path / "labelled", {"data": "ef", "labels": {"checkpoints": ["01"]}}, other)
    assert caught.value.problems == (
        "data: was x.zip, is x.zip with other content",
        "labels.checkpoints: was run/fold0, is run/fold1",
    )


def test_an_incomplete_store_of_another_identity_is_begun_anew(store, tmp_path):
    store.write(sample("a"))
    TargetSet(store.folder, TARGETS).write("a", PLANES)
    begun = Store.create(tmp_path / "store", OTHER, {})
    for read in (begun.read, TargetSet(begun.folder, TARGETS).read):
        with pytest.raises(DataError, match="No such file"):
            read("a")
    assert begun.manifest["identity"] == OTHER


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(DataError, match="photos is neither empty nor a store"):
        Store.create(tmp_path / "photos", IDENTITY, {})


def test_a_folder_with_a_lock_only_becomes_a_store(tmp_path):
    with lock(tmp_path / "store"):
        Store.create(tmp_path / "store", IDENTITY, {})
    assert (tmp_path / "store" / "manifest.json").exists()


def test_a_finished_store_is_opened_with_its_folds(store, tmp_path):
    targets = TargetSet(store.folder, TARGETS)
    for key in ("007", "b,c", "d"):
        store.write(sample(key))
        targets.write(key, PLANES)
    store.finish(
        targets,
        DataFrame({"id": ["007", "b,c", "d"], "fold": [0, 1, None], "kind": ["seismic", "seismic", ""]}),
        {"oddities": [], "n": 3},
    )
    again = Store.open(tmp_path / "store")
    assert again.ids == ("007", "b,c", "d")
    assert again.folds == {"007": 0, "b,c": 1}
    assert (tmp_path / "store" / "folds.csv").read_bytes() == b'id,fold,kind\n007,0,seismic\n"b,c",1,seismic\nd,,\n'
    assert again.report == {"oddities": [], "n": 3}
    assert again.manifest["identity_sha256"] == store.manifest["identity_sha256"]


def test_the_same_samples_give_the_same_bytes(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        fill(Store.create(folder, IDENTITY, {}), "a")
    one, two = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert one == two
    assert len(one) == 6


def test_a_finished_store_can_be_finished_again(store):
    fill(store, "a")
    fill(store, "a", "b")
    assert Store.open(store.folder).ids == ("a", "b")


def test_a_row_of_folds_without_its_sample_leaves_the_store_incomplete(store):
    store.write(sample("a"))
    with pytest.raises(FileNotFoundError):
        store.finish(TargetSet(store.folder, TARGETS), rows("a", "b"), {})
    with pytest.raises(DataError, match="is incomplete"):
        Store.open(store.folder)


def test_a_store_that_is_missing_or_not_complete_says_what_to_run(store, tmp_path):
    with pytest.raises(DataError, match=r"is incomplete; run kaggle-unet make-targets CONFIG .*to finish it"):
        Store.open(store.folder)
    with pytest.raises(DataError, match=rf"no store in {tmp_path}/other; run kaggle-unet make-targets CONFIG"):
        Store.open(tmp_path / "other")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_manifest_that_cannot_be_read_is_named(store, text):
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json .*delete the store and run "):
        Store.open(store.folder)


@pytest.mark.parametrize(("version", "said"), [(1, "an older"), (99, "another"), (None, "another")])
def test_a_store_of_another_version_is_named_with_the_command_that_makes_it_anew(store, version, said):
    path = store.folder / "manifest.json"
    write_record(path, {**json.loads(path.read_text()), "format": version})
    command = f"kaggle-unet make-targets CONFIG --data train.zip --store {store.folder}"
    for use in (Store.open, lambda folder: Store.create(folder, IDENTITY, {})):
        with pytest.raises(DataError, match=rf"is of {said} version .*; delete the store and run {command}"):
            use(store.folder)


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../a", "a\\b", "a\0b", "x" * 201])
def test_ids_that_are_no_file_names_are_refused(store, key):
    with pytest.raises(DataError, match="cannot name a file"):
        store.write(sample(key))
    with pytest.raises(DataError, match="cannot name a file"):
        TargetSet(store.folder, TARGETS).write(key, PLANES)
    assert not any((store.folder / name).exists() for name in ("samples", "targets"))


@pytest.mark.parametrize("key", ["...", "a b", "ü", "8e13060816", "x" * 200, ".x.0123456789abcdef.tmp"])
def test_odd_ids_are_kept(store, key):
    fill(store, key)
    assert store.ids == (key,)
    assert store.read(key).id == key


def test_a_damaged_or_missing_sample_is_named(store):
    store.write(sample("a"))
    (store.folder / "samples" / "a.npz").write_bytes(b"")
    targets = TargetSet(store.folder, TARGETS)
    with pytest.raises(DataError, match=r"samples/a\.npz is damaged"):
        store.read("a")
    with pytest.raises(DataError, match=r"/b\.npz can't be read .*run make-targets again"):
        targets.read("b")


def test_a_store_survives_pickling(store):
    fill(store, "a")
    again = pickle.loads(pickle.dumps(store))
    assert again.read("a").id == "a"
    assert pickle.loads(pickle.dumps(TargetSet(again.folder, TARGETS))).read("a")[0].all()


def test_all_files_are_flushed_before_a_store_is_declared_complete(store, monkeypatch):
    flushed, fsync = [], os.fsync

    def watch(descriptor):
        is_complete = json.loads((store.folder / "manifest.json").read_text())["complete"]
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink(), is_complete))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    targets = fill(store, "a", "b")
    arrays = {path for folder in (store.folder / "samples", targets.folder) for path in folder.glob("*.npz")}
    assert len(arrays) == 4
    assert arrays <= {path for path, is_complete in flushed if not is_complete}


def test_folds_and_reports_that_were_changed_or_cut_short_are_not_believed(store):
    store.write(sample("a"))
    targets = TargetSet(store.folder, TARGETS)
    targets.write("a", PLANES)
    store.finish(targets, DataFrame({"id": ["a"], "fold": [0]}), {"n": 1})
    folds, report = store.folder / "folds.csv", store.folder / "report.json"
    folds.write_text("id,fold\n")
    with pytest.raises(DataError, match=r"folds\.csv is damaged .*not what was written.*competition\.folds"):
        Store.open(store.folder).read_folds()
    report.write_text(report.read_text().replace("1", "2", 1))
    with pytest.raises(
        DataError, match=r"report\.json is damaged \(.*sha256\); delete the store and run .* make-targets"
    ):
        _ = Store.open(store.folder).report


def test_planes_that_do_not_fill_their_shape_are_damaged(tmp_path):
    targets = TargetSet(tmp_path, {"codec": "mask"})
    targets.write("a", np.ones((1, 4, 4), np.float32))
    with np.load(targets.folder / "a.npz") as file:
        arrays = dict(file)
    write_arrays(targets.folder / "a.npz", {**arrays, "shape": np.array([1, 60_000, 60_000])})
    with pytest.raises(DataError, match="do not fill"):
        targets.read("a")


def test_a_store_whose_images_lost_8_of_16_bits_is_named_with_the_command_that_makes_it_anew(store):
    store.write(sample("a"))
    targets = TargetSet(store.folder, TARGETS)
    targets.write("a", PLANES)
    issue = {"what": "16-bit image", "samples": 1, "count": 1, "done": "divided by 257", "example": "a"}
    store.finish(targets, DataFrame({"id": ["a"], "fold": [0]}), {"oddities": [issue]})
    command = f"kaggle-unet make-targets CONFIG --data train.zip --store {store.folder}"
    for use in (Store.open, lambda folder: Store.create(folder, IDENTITY, {})):
        with pytest.raises(DataError, match=rf"kept 8 of an image's 16 bits; delete the store and run {command}"):
            use(store.folder)


def test_an_interrupted_store_of_other_data_is_not_cleared_under_shards(tmp_path):
    Store.create(tmp_path, {"data": "one"}, {})
    (tmp_path / "samples").mkdir()
    with pytest.raises(DataError, match="was made for something else"):
        Store.create(tmp_path, {"data": "two"}, {}, may_clear=False)
    assert (tmp_path / "samples").exists()
    Store.create(tmp_path, {"data": "two"}, {})
    assert not (tmp_path / "samples").exists()
