import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.overlap import count_overlap, iou_twentieths, merge_instances
from tests import naive, strategies


def listed(overlap):
    pairs = zip(overlap.true.tolist(), overlap.pred.tolist(), overlap.shared_px.tolist(), strict=True)
    return overlap.areas_true_px.tolist(), overlap.areas_pred_px.tolist(), list(pairs)


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_pairs_are_those_of_the_twin_in_its_order(pair):
    assert listed(count_overlap(*pair)) == naive.count_overlap(*pair)


@given(
    strategies.pairs(),
    st.permutations([9, 700, 70_000, 2**31 - 1]),
    st.sampled_from([np.int32, np.int64, np.uint32, np.uint64]),
)
@settings(max_examples=50, deadline=None)
def test_ids_with_gaps_of_any_size_and_type_are_counted_in_their_order(pair, new_ids, dtype):
    true, pred = pair[0], np.array([0, *new_ids], dtype=dtype)[pair[1]]

    assert listed(count_overlap(true, pred)) == naive.count_overlap(true, pred)
    assert listed(count_overlap(pred, true)) == naive.count_overlap(pred, true)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.uint16, np.int32, ">i4", ">i8", np.int64])
def test_all_types_of_labels_are_taken(dtype):
    true, pred = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype), np.array([[1, 1, 0], [1, 0, 1]])

    assert listed(count_overlap(true, pred)) == ([4], [4], [(0, 0, 3)])


def test_background_is_no_instance_even_where_there_is_none():
    assert listed(count_overlap(np.array([[1, 2]]), np.array([[1, 1]]))) == ([1, 1], [2], [(0, 0, 1), (1, 0, 1)])
    assert listed(count_overlap(np.array([[0, 1]]), np.array([[1, 0]]))) == ([1], [1], [])


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (3, 0), (0, 0)])
def test_images_without_instances_or_pixels_have_no_pairs(shape):
    empty = np.zeros(shape, dtype=int)

    assert listed(count_overlap(empty, empty)) == ([], [], [])


def test_images_of_more_pairs_than_are_expected_are_counted_too():
    rng = np.random.default_rng(1)
    true, pred = rng.integers(0, 300, (2, 200, 200), dtype=np.int32)

    overlap = count_overlap(true, pred)

    table = np.bincount(true.ravel() * 300 + pred.ravel(), minlength=300 * 300).reshape(300, 300)
    assert overlap.true.size > 8 * 2048
    assert (overlap.areas_true_px == table.sum(axis=1)[1:]).all()
    assert (overlap.areas_pred_px == table.sum(axis=0)[1:]).all()
    assert (np.stack([overlap.true, overlap.pred]) == np.nonzero(table[1:, 1:])).all()
    assert (overlap.shared_px == table[1:, 1:][overlap.true, overlap.pred]).all()


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_images_larger_than_a_part_are_counted_whole(dtype):
    # Instances of 40 lines each, wider than 65,536 / 40 pixels: every part ends in the middle of one.
    true = np.repeat(np.arange(5, dtype=dtype), 40)[:, None] * np.ones(2000, dtype=dtype)

    assert listed(count_overlap(true, true)) == ([80_000] * 4, [80_000] * 4, [(i, i, 80_000) for i in range(4)])


def test_union_is_what_either_covers():
    overlap = count_overlap(np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]]))

    assert (overlap.shared_px.tolist(), overlap.union_px.tolist()) == ([2], [4])


def test_labels_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) but predicted ones \(2, 1\)"):
        count_overlap(np.zeros((1, 2), dtype=int), np.zeros((2, 1), dtype=int))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[-1, 2]]), "labels with ids from -1 to 2"),
        (np.array([[-1, 2]], dtype=np.int32), "labels with ids from -1 to 2"),
        (np.array([[-1, 2]], dtype=np.int8), "labels with ids from -1 to 2"),
        (np.array([[0, 2**32]]), "labels with ids from 0 to 4294967296"),
        (np.array([[0, 2**31]], dtype=np.uint32), "labels with ids from 0 to 2147483648"),
        (np.array([[0.0, 1.0]]), "labels of dtype float64"),
        (np.array([0, 1]), r"labels of shape \(2,\)"),
    ],
)
def test_what_is_no_labels_is_refused_on_either_side(labels, message):
    right = np.zeros(labels.shape, dtype=np.int32)
    for pair in ((labels, right), (right, labels)):
        with pytest.raises(DataError, match=message):
            count_overlap(*pair)


@given(strategies.pairs())
@settings(max_examples=30, deadline=None)
def test_memory_order_does_not_matter(pair):
    true, pred = pair
    expected = naive.count_overlap(true, pred)

    assert listed(count_overlap(np.asfortranarray(true), np.asfortranarray(pred))) == expected
    assert listed(count_overlap(np.asfortranarray(true), pred)) == expected
    assert listed(count_overlap(true[::-1, ::-1], pred[::-1, ::-1])) == expected


@given(strategies.pairs())
@settings(max_examples=30, deadline=None)
def test_instances_merged_are_those_of_the_masks(pair):
    true, pred = pair

    assert listed(merge_instances(count_overlap(true, pred))) == naive.count_overlap(true > 0, pred > 0)


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_the_highest_twentieth_is_reached_and_the_next_is_not(pair):
    overlap = count_overlap(*pair)
    shared, united = overlap.shared_px, overlap.union_px

    reached, above = iou_twentieths(overlap, strict=False), iou_twentieths(overlap, strict=True)

    assert ((20 * shared >= reached * united) & (20 * shared < (reached + 1) * united)).all()
    assert ((20 * shared > above * united) & (20 * shared <= (above + 1) * united)).all()
