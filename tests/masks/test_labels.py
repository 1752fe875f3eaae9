import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.errors import DataError
from kaggle_unet.masks.column_runs import paint_masks
from kaggle_unet.masks.labels import areas_px, check_labels, components, relabel, relabel_in_raster_order
from tests import naive, strategies


def row(*numbers):
    return np.array([numbers], dtype=bool)


def test_relabelling_keeps_the_order_of_ids():
    assert relabel(np.array([[9, 0, 4], [9, 7, 0]])).tolist() == [[3, 0, 1], [3, 2, 0]]


def test_relabelling_an_image_without_background_gives_no_id_zero():
    assert relabel(np.array([[5, 5]])).tolist() == [[1, 1]]


def test_relabelling_huge_ids_takes_no_huge_table():
    labels = np.array([[2**31 - 1, 0, 1]], dtype=np.int64)
    tracemalloc.start()

    assert relabel(labels).tolist() == [[2, 0, 1]]

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@given(strategies.labels(), st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_consecutive_labels_are_not_changed_however_they_were_spread(labels, factor):
    assert (relabel(labels) == labels).all()
    assert (relabel(labels * factor) == labels).all()


def test_relabelling_in_raster_order_follows_the_rows():
    labels = np.array([[0, 9, 4], [2, 9, 4]], dtype=np.int32)

    assert relabel_in_raster_order(labels).tolist() == [[0, 1, 2], [3, 1, 2]]
    assert relabel_in_raster_order(labels.T).tolist() == [[0, 1], [2, 2], [3, 3]]
    assert labels[0, 1] == 9


def test_labels_come_back_as_int32_in_c_order():
    labels = check_labels(np.asfortranarray([[1, 2], [0, 3]], dtype=np.uint16))[0]

    assert labels.dtype == np.int32
    assert labels.flags.c_contiguous


def test_a_mask_and_an_image_without_pixels_are_labels():
    assert check_labels(np.array([[True, False]]))[0].tolist() == [[1, 0]]
    assert check_labels(np.zeros((0, 3), dtype=np.int64))[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.zeros((2, 2, 3), dtype=int), r"shape \(2, 2, 3\); expected \(H, W\)"),
        (np.zeros((2, 2)), "labels of dtype float64; expected whole numbers"),
        (np.array([[-1, 3]]), "with ids from -1 to 3"),
        (np.array([[0, 2**31]]), "with ids from 0 to 2147483648"),
    ],
)
def test_what_cannot_be_labels_is_refused_with_the_reason(labels, what):
    with pytest.raises(DataError, match=what):
        check_labels(labels)


def test_areas_are_listed_by_id_with_background_first():
    assert areas_px(np.array([[0, 3, 3], [1, 3, 0]], dtype=np.int32)).tolist() == [2, 1, 0, 3]


def test_corners_connect_unless_told_otherwise():
    mask = np.array([[1, 0, 1], [0, 1, 0]], dtype=bool)

    assert components(mask).max() == 1
    assert components(mask, connectivity=4).max() == 3


def test_an_empty_mask_has_no_component():
    assert not components(np.zeros((3, 2), dtype=bool)).any()


def test_a_mask_in_two_pieces_stays_one_instance():
    labels, _, _ = paint_masks([row(1, 0, 1)], (1, 3))

    assert labels.tolist() == [[1, 0, 1]]


def test_a_contested_pixel_goes_to_the_smaller_mask():
    labels, n_contested, n_empty = paint_masks([row(0, 1, 1), row(1, 1, 1)], (1, 3))

    assert labels.tolist() == [[2, 1, 1]]
    assert (n_contested, n_empty) == (2, 0)


def test_of_equal_sizes_the_mask_with_the_first_pixel_wins():
    early, late = row(1, 1, 0), row(0, 1, 1)

    assert paint_masks([early, late], (1, 3))[0].tolist() == [[1, 1, 2]]
    assert paint_masks([late, early], (1, 3))[0].tolist() == [[2, 2, 1]]


def test_masks_without_a_pixel_of_their_own_are_dropped_and_counted():
    labels, n_contested, n_empty = paint_masks([row(0, 0), row(1, 0), row(1, 0), row(0, 1)], (1, 2))

    assert labels.tolist() == [[1, 2]]
    assert (n_contested, n_empty) == (1, 2)


def test_no_masks_make_an_empty_image():
    labels, n_contested, n_empty = paint_masks(iter([]), (2, 3))

    assert labels.shape == (2, 3)
    assert not labels.any()
    assert (n_contested, n_empty) == (0, 0)


def test_a_mask_of_another_shape_is_named_by_its_place():
    with pytest.raises(DataError, match=r"mask 2 of shape \(1, 3\); expected \(1, 2\)"):
        paint_masks([row(0, 1), row(0, 0, 1)], (1, 2))


@st.composite
def overlapping_masks(draw):
    shape = draw(strategies.shapes(5))
    return draw(st.lists(hnp.arrays(bool, shape), max_size=5)), shape


@given(overlapping_masks())
@settings(max_examples=50, deadline=None)
def test_overlaps_are_painted_as_the_twin_paints_them(drawn):
    masks, shape = drawn

    labels, n_contested, n_empty = paint_masks(masks, shape)

    expected, expected_contested, expected_empty = naive.paint_masks(masks, shape)
    assert (labels == expected).all()
    assert (n_contested, n_empty) == (expected_contested, expected_empty)


@given(overlapping_masks(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_masks_decides_nothing_but_ids(drawn, random):
    masks, shape = drawn
    shuffled = random.sample(masks, len(masks))

    first, second = paint_masks(masks, shape)[0], paint_masks(shuffled, shape)[0]

    pairs = set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
