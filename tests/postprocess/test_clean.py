import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.postprocess.clean import drop_small, fill_holes
from tests import naive, strategies


def draw_ring():
    """An instance of id 3 with a hole of two pixels."""
    ring = np.full((3, 4), 3, dtype=np.int32)
    ring[1, 1:3] = 0
    return ring


@pytest.mark.parametrize(("max_px", "is_filled"), [(0, False), (1, False), (2, True), (9, True)])
def test_a_hole_of_at_most_the_limit_is_filled(max_px, is_filled):
    assert (fill_holes(draw_ring(), max_px)[1, 1] == 3) == is_filled


def test_a_hole_at_the_edge_is_left():
    assert fill_holes(np.array([[1, 0, 1]], dtype=np.int32), 9).tolist() == [[1, 0, 1]]


def test_a_hole_between_two_instances_is_left():
    ring = draw_ring()
    ring[0, 3] = 4

    assert fill_holes(ring, 9)[1, 1] == 0


def test_background_does_not_leak_through_corners():
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.int32)

    assert fill_holes(diamond, 1).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


@given(strategies.labels(max_id=2), st.integers(0, 6))
@settings(max_examples=80, deadline=None)
def test_holes_are_filled_as_the_twin_fills_them(labels, max_px):
    assert (fill_holes(labels, max_px) == naive.fill_holes(labels, max_px)).all()


def test_an_instance_of_exactly_the_limit_stays():
    labels = np.array([[1, 0, 2, 2, 0, 3, 3, 3]], dtype=np.int32)

    assert drop_small(labels, 2).tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]


def test_pieces_of_an_instance_count_together():
    assert drop_small(np.array([[1, 0, 1]], dtype=np.int32), 2).tolist() == [[1, 0, 1]]


@given(strategies.labels(), st.integers(0, 4), st.integers(0, 8))
@settings(max_examples=50, deadline=None)
def test_cleaning_twice_is_cleaning_once(labels, fill_holes_px, min_area_px):
    once = drop_small(fill_holes(labels, fill_holes_px), min_area_px)

    assert set(once.ravel().tolist()) | {0} == set(range(once.max() + 1))
    assert (drop_small(once, min_area_px) == once).all()


def test_an_empty_image_stays_empty():
    assert not drop_small(fill_holes(np.zeros((3, 2), dtype=np.int32), 9), 3).any()


@given(strategies.labels(max_id=3), st.integers(0, 4), st.integers(0, 8), st.booleans())
@settings(max_examples=50, deadline=None)
def test_labels_are_changed_only_if_they_may_be(labels, fill_holes_px, min_area_px, in_place):
    before, expected = labels.copy(), drop_small(fill_holes(labels.copy(), fill_holes_px), min_area_px)

    filled = fill_holes(labels, fill_holes_px, in_place=in_place)
    assert (labels == (filled if in_place else before)).all()
    assert in_place or not np.shares_memory(labels, filled)
    kept = filled.copy()
    cleaned = drop_small(kept, min_area_px, in_place=in_place)

    assert (cleaned == expected).all()
    assert (kept == (cleaned if in_place else filled)).all()
    assert in_place or not np.shares_memory(kept, cleaned)


def test_gaps_in_the_ids_are_closed_though_nothing_is_small():
    assert drop_small(np.array([[4, 0, 9]], dtype=np.int32), 0).tolist() == [[1, 0, 2]]
