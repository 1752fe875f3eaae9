"""The store: resumed by what it is made from, complete or refused."""

import json
import pickle

import numpy as np
import pytest

from kaggle_unet.errors import DataError
from kaggle_unet.store import Store
from kaggle_unet.types import Sample

IDENTITY = {"competition": {"name": "tgs", "skip": ("a", "b")}, "codec": {"border": {"radius_px": 1}}, "source": "abc"}
PLANES = np.ones((2, 3, 4), np.float32)


def sample(key="a", value=0):
    return Sample(key, np.full((3, 4), value, np.uint8), np.zeros((3, 4), np.int32))


def rows(*keys):
    return [{"id": key, "fold": i, "kind": "seismic"} for i, key in enumerate(keys)]


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store", IDENTITY, {"version": "1"})


def test_samples_and_targets_are_read_back(store):
    store.write(sample("a", 7), PLANES)
    store.write(sample("b"), PLANES * 0, np.full((3, 4), 2, np.float32))
    assert store.ids == ("a", "b")
    np.testing.assert_array_equal(store.read("a").image, np.full((3, 4), 7))
    planes, weights = store.read_targets("b")
    np.testing.assert_array_equal(planes, PLANES * 0)
    np.testing.assert_array_equal(weights, np.full((3, 4), 2))


def test_an_interrupted_store_is_continued(store, tmp_path):
    store.write(sample("a"), PLANES)
    again = Store.create(tmp_path / "store", json.loads(json.dumps(IDENTITY)), {"version": "2"})
    assert again.has("a")
    assert not again.has("b")
    assert again.manifest["about"] == {"version": "1"}


@pytest.mark.parametrize("half", ["samples", "targets"])
def test_half_a_sample_is_not_finished(store, half):
    store.write(sample("a"), PLANES)
    (store.folder / half / "a.npz").unlink()
    assert store.ids == ()
    assert not store.has("a")


def test_targets_may_come_after_their_sample(store):
    store.write_sample(sample("a"))
    assert not store.has("a")
    store.write_targets("a", PLANES)
    assert store.has("a")
    np.testing.assert_array_equal(store.read_targets("a")[0], PLANES)


OTHER = {"competition": {"name": "tgs", "skip": ["a"]}, "codec": {"border": {"radius_px": 2}}, "weights": None}


def test_another_identity_is_refused_with_every_difference(store, tmp_path):
    store.finish([], {})
    other = OTHER
    with pytest.raises(DataError, match="was made for something else; pass another --store or delete it") as caught:
        Store.create(tmp_path / "store", other, {})
    assert caught.value.problems == (
        "codec.border.radius_px: was 1, is 2",
        "competition.skip: was ['a', 'b'], is ['a']",
        "source: was 'abc', is None",
    )


def test_an_incomplete_store_of_another_identity_is_begun_anew(store, tmp_path):
    store.write(sample("a"), PLANES)
    assert store.has("a")
    begun = Store.create(tmp_path / "store", OTHER, {})
    assert not begun.has("a")
    assert begun.manifest["identity"] == OTHER


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(DataError, match="photos is not empty and no store"):
        Store.create(tmp_path / "photos", IDENTITY, {})


def test_a_folder_with_a_lock_only_becomes_a_store(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".lock").write_bytes(b"")
    Store.create(tmp_path / "store", IDENTITY, {})


def test_a_finished_store_is_opened_with_its_folds(store, tmp_path):
    for key in ("007", "b,c", "d"):
        store.write(sample(key), PLANES)
    store.finish([*rows("007", "b,c"), {"id": "d", "fold": None, "kind": ""}], {"oddities": [], "n": 3})
    again = Store.open(tmp_path / "store")
    assert again.ids == ("007", "b,c", "d")
    assert again.folds == {"007": 0, "b,c": 1}
    assert (tmp_path / "store" / "folds.csv").read_bytes() == b'id,fold,kind\n007,0,seismic\n"b,c",1,seismic\nd,,\n'
    assert json.loads((tmp_path / "store" / "report.json").read_text()) == {"oddities": [], "n": 3}
    assert again.manifest["identity_sha256"] == store.manifest["identity_sha256"]


def test_the_same_samples_give_the_same_bytes(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        store = Store.create(folder, IDENTITY, {})
        store.write(sample("a", 3), PLANES)
        store.finish(rows("a"), {})
    one, two = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert one == two
    assert len(one) == 5


def test_a_finished_store_can_be_finished_again(store):
    store.write(sample("a"), PLANES)
    store.finish(rows("a"), {})
    store.write(sample("b"), PLANES)
    store.finish(rows("a", "b"), {})
    assert Store.open(store.folder).ids == ("a", "b")


def test_rows_of_folds_must_be_those_of_the_samples(store):
    store.write(sample("a"), PLANES)
    with pytest.raises(AssertionError):
        store.finish(rows("a", "b"), {})


def test_a_store_that_is_missing_or_not_complete_says_what_to_run(store, tmp_path):
    with pytest.raises(DataError, match=r"is not complete; run kaggle-unet make-targets CONFIG .*it continues"):
        Store.open(store.folder)
    with pytest.raises(DataError, match=rf"no store in {tmp_path}/other; run kaggle-unet make-targets CONFIG"):
        Store.open(tmp_path / "other")


@pytest.mark.parametrize("text", ["{", '{"format": 99}', "[]"])
def test_a_manifest_that_cannot_be_read_is_named(store, text):
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json .*delete the store and run make-targets again"):
        Store.open(store.folder)


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../a", "a\\b", "a\0b", "x" * 201])
def test_ids_that_are_no_file_names_are_refused(store, key):
    with pytest.raises(DataError, match="cannot name a file"):
        store.write(sample(key), PLANES)
    assert not any((store.folder / name).exists() for name in ("samples", "targets"))


@pytest.mark.parametrize("key", ["...", "a b", "ü", "8e13060816", "x" * 200, ".x.0123456789abcdef.tmp"])
def test_odd_ids_are_kept(store, key):
    store.write(sample(key), PLANES)
    assert store.ids == (key,)
    assert store.read(key).id == key


def test_a_damaged_or_missing_sample_is_named(store):
    store.write(sample("a"), PLANES)
    (store.folder / "samples" / "a.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"samples/a\.npz is damaged"):
        store.read("a")
    with pytest.raises(DataError, match=r"cannot read .*targets/b\.npz .*run make-targets again"):
        store.read_targets("b")


def test_a_store_survives_pickling(store):
    store.write(sample("a"), PLANES)
    assert pickle.loads(pickle.dumps(store)).read("a").id == "a"


def test_a_removed_sample_is_not_there(store):
    store.write(sample("a"), PLANES)
    store.write(sample("b"), PLANES)
    store.remove("a")
    assert not store.has("a")
    assert store.ids == ("b",)
    store.remove("never there")


def test_all_files_are_flushed_before_a_store_is_declared_complete(store, monkeypatch):
    events = []
    monkeypatch.setattr(
        "kaggle_unet.store.store.flush_files",
        lambda paths: events.extend(f"{path.parent.name}/{path.name}" for path in paths),
    )
    write = store._write_manifest
    monkeypatch.setattr(Store, "_write_manifest", lambda _: events.append("manifest") or write())
    for key in ("a", "b"):
        store.write(sample(key), PLANES)
    store.finish(rows("a", "b"), {})
    assert sorted(events[:4]) == ["samples/a.npz", "samples/b.npz", "targets/a.npz", "targets/b.npz"]
    assert events[4:] == ["manifest"]
