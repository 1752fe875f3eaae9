import numpy as np
import pytest
from hypothesis import given, settings

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.overlap import count_overlap, split_overlap
from tests import naive, strategies


def test_background_has_row_and_column_zero_even_without_a_pixel():
    overlap = count_overlap(np.array([[1, 2]]), np.array([[1, 1]]))

    assert overlap.tolist() == [[0, 0], [0, 1], [0, 1]]


def test_ids_with_gaps_are_counted_in_their_order():
    overlap = count_overlap(np.array([[300, 7]], dtype=np.uint16), np.array([[0, 70000]]))

    assert overlap.tolist() == [[0, 0], [0, 1], [1, 0]]


def test_empty_images_share_background_only():
    assert count_overlap(np.zeros((2, 3), dtype=int), np.zeros((2, 3), dtype=int)).tolist() == [[6]]


def test_union_is_what_either_covers():
    intersection, union = split_overlap(count_overlap(np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]])))

    assert intersection.tolist() == [[2]]
    assert union.tolist() == [[4]]


def test_labels_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) but predicted ones \(2, 1\)"):
        count_overlap(np.zeros((1, 2), dtype=int), np.zeros((2, 1), dtype=int))


@given(strategies.labels())
@settings(max_examples=20, deadline=None)
def test_memory_order_does_not_matter(labels):
    columns_first = np.asfortranarray(labels)

    assert (count_overlap(columns_first, labels) == naive.count_overlap(labels, labels)).all()
