"""Manifests and arrays: what comes back is what went in, and where two trees of plain values differ."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.errors import DataError
from kaggle_unet.store import Store, TargetSet, find_differences, hash_plain, read_record, write_record
from kaggle_unet.types import DataIssue, Sample
from tests.strategies import shapes


@st.composite
def samples(draw):
    shape = draw(shapes())
    dims = draw(st.sampled_from([shape, (*shape, 3)]))
    return Sample(
        id="a",
        image=draw(hnp.arrays(np.uint8, dims)),
        labels=draw(st.none() | hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 255, 256, 65536]))),
        kind=draw(st.text(max_size=5)),
        ignore=draw(st.none() | hnp.arrays(bool, shape)),
        numbers=draw(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=2)),
        data_issues=tuple(
            draw(st.lists(st.builds(DataIssue, st.text(), st.text(), st.integers(0, 9), st.text()), max_size=2))
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def store_of(folder, sample):
    """Write a sample; return the store and the bytes of the file."""
    store = Store(folder, {})
    store.write(sample)
    return store, (folder / "samples" / f"{sample.id}.npz").read_bytes()


def written(folder, planes, weights=None):
    """Write targets; return the set and the bytes of the file."""
    targets = TargetSet(folder, {})
    targets.write("a", planes, weights)
    return targets, (targets.folder / "a.npz").read_bytes()


@given(sample=samples())
def test_a_sample_comes_back_as_it_was(folder, sample):
    store, data = store_of(folder, sample)
    back = store.read(sample.id)
    for name in ("image", "labels", "ignore"):
        wanted, found = getattr(sample, name), getattr(back, name)
        assert (wanted is None) == (found is None)
        if wanted is not None:
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype
    assert (back.id, back.kind, back.numbers, back.data_issues) == (
        sample.id,
        sample.kind,
        sample.numbers,
        sample.data_issues,
    )
    assert store_of(folder, back)[1] == data


@given(planes=hnp.array_shapes(min_dims=3, max_dims=3, max_side=9).flatmap(lambda shape: hnp.arrays(bool, shape)))
def test_planes_come_back_as_they_were(folder, planes):
    back, weights = written(folder, planes.astype(np.float32))[0].read("a")
    np.testing.assert_array_equal(back, planes)
    assert (back.dtype, weights.dtype, weights.shape) == (np.float32, np.float32, planes.shape[1:])
    assert (weights == 1).all()


def test_weights_come_back_as_they_were(folder):
    weights = np.array([[0, 1, 20, 0.3, 1e-5, 1e6, 1 / 3]], np.float32)
    _, back = written(folder, np.zeros((1, 1, 7), np.float32), weights)[0].read("a")
    np.testing.assert_array_equal(back, weights)
    assert back.dtype == np.float32


def test_weights_of_1_take_no_room(folder):
    planes = np.zeros((1, 64, 64), np.float32)
    _, ones = written(folder, planes, np.ones((64, 64), np.float32))
    assert ones == written(folder, planes)[1]
    with np.load(io.BytesIO(ones)) as file:
        assert sorted(file) == ["planes", "shape"]
        assert file["planes"].nbytes == 64 * 64 // 8


def test_labels_take_the_smallest_type_that_holds_them(folder):
    for highest, dtype in ((255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)):
        sample = Sample("a", np.zeros((1, 2), np.uint8), np.array([[0, highest]], np.int32))
        with np.load(io.BytesIO(store_of(folder, sample)[1])) as file:
            assert file["labels"].dtype == dtype


def test_damage_is_named_with_the_remedy(tmp_path):
    sample = Sample("a", np.arange(400, dtype=np.uint8).reshape(20, 20))
    store, sample_data = store_of(tmp_path, sample)
    targets, target_data = written(tmp_path, np.ones((1, 40, 40), np.float32))
    for read, folder, whole in (
        (store.read, tmp_path / "samples", sample_data),
        (targets.read, targets.folder, target_data),
    ):
        path = folder / "a.npz"
        flipped = bytearray(whole)
        flipped[70] ^= 255
        for data in (b"", b"<html>", whole[:-40], whole[:90], bytes(flipped)):
            path.write_bytes(data)
            with pytest.raises(DataError, match=rf"^{path} is damaged .* delete it and run make-targets again"):
                read("a")


def test_a_file_of_another_kind_is_named(tmp_path):
    store, _ = store_of(tmp_path, Sample("a", np.zeros((1, 1), np.uint8)))
    (tmp_path / "samples" / "a.npz").write_bytes(written(tmp_path, np.zeros((1, 1, 1), np.float32))[1])
    with pytest.raises(DataError, match=r"a\.npz lacks about, image"):
        store.read("a")


def test_planes_that_are_no_targets_are_our_own_mistake(tmp_path):
    with pytest.raises(AssertionError):
        written(tmp_path, np.full((1, 1, 1), 0.5, np.float32))


def test_differences_are_listed_key_by_key():
    first = {"model": {"name": "smp", "encoder": "resnet18"}, "input": {"channels": ["gray"]}, "seed": 1}
    second = {"model": {"name": "smp", "encoder": "resnet34", "depth": 4}, "input": {"channels": ["gray"]}, "seed": 1}
    assert find_differences(first, first) == []
    assert find_differences(first, second) == [
        ("model.depth", None, 4),
        ("model.encoder", "resnet18", "resnet34"),
    ]


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_a_hash_of_plain_values_does_not_depend_on_the_order_of_keys(tree):
    assert hash_plain(tree) == hash_plain(dict(reversed(tree.items())))
    assert hash_plain(tree) != hash_plain({**tree, "new key": 1})


def test_arrays_that_the_list_of_a_file_has_lost_are_missed(tmp_path):
    store, whole = store_of(tmp_path, Sample("a", np.ones((2, 3), np.uint8), np.ones((2, 3), np.int32)))
    targets, packed = written(tmp_path, np.ones((1, 2, 3), np.float32), np.full((2, 3), 2, np.float32))
    for read, path, data in (
        (store.read, tmp_path / "samples" / "a.npz", whole),
        (targets.read, targets.folder / "a.npz", packed),
    ):
        last = data.rindex(b"PK\1\2")  # its entry becomes the comment of the one before
        before = data.rindex(b"PK\1\2", 0, last)
        end = len(data) - 22 - last
        cut = data[: before + 32] + end.to_bytes(2, "little") + data[before + 34 :]
        path.write_bytes(cut)
        with pytest.raises(DataError, match="its list has 2 of 3 arrays"):
            read("a")
        path.write_bytes(data[: last + 16] + bytes(8) + data[last + 24 :])  # its checksum and packed size
        with pytest.raises(DataError, match="is damaged"):
            read("a")


def test_a_record_has_its_hash_unless_an_earlier_version_wrote_it(tmp_path):
    path = tmp_path / "run.json"
    write_record(path, {"store": "x"})
    assert read_record(path, "") == {"store": "x"}
    text = path.read_text()
    lost = re.sub(r',\s*"sha256.*"', "", text)
    for damaged in (text.replace('"x"', '"y"'), text.replace('"sha256"', '"sha257"'), lost):
        path.write_text(damaged)
        with pytest.raises(DataError, match=r"not what was written, by its sha256\); train again"):
            read_record(path, "train again")
    path.write_text('{"store": "x"}')
    assert read_record(path, "") == {"store": "x"}
