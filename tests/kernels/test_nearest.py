import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.targets.weights import two_nearest_squares
from tests import naive, strategies


def test_distances_are_to_different_instances_not_to_different_pixels():
    labels = np.zeros((5, 5), dtype=np.int32)
    labels[0, 0] = labels[0, 4] = 1
    labels[4, 0] = 2

    squares = two_nearest_squares(labels, reach_px=18)

    # From (1, 1): instance 1 at (0, 0), 1 + 1; instance 2 at (4, 0), 9 + 1. Its other pixel of 1 would be 1 + 9.
    assert squares[:, 1, 1].tolist() == [2, 10]
    # From (1, 4): instance 1 at (0, 4), instance 2 at (4, 0), 9 + 16.
    assert squares[:, 1, 4].tolist() == [1, 25]


@given(strategies.labels(max_side=14, max_id=6))
@settings(max_examples=80, deadline=None)
def test_the_two_nearest_are_those_of_a_stack_of_distance_transforms(labels):
    squares = two_nearest_squares(labels, reach_px=40)

    expected = naive.two_nearest_px(labels)
    is_found = np.isfinite(expected) & (labels == 0)
    assert (squares[is_found] == np.rint(expected[is_found] ** 2)).all()
    assert (squares[~is_found] == 2**60).all()


@given(strategies.labels(max_side=14, max_id=3), st.floats(2, 9))
@settings(max_examples=80, deadline=None)
def test_a_short_reach_changes_nothing_within_it(labels, reach_px):
    near = two_nearest_squares(labels, reach_px=reach_px)

    far = two_nearest_squares(labels, reach_px=40)
    is_within = np.sqrt(far).sum(axis=0) <= reach_px
    assert (near[:, is_within] == far[:, is_within]).all()
    assert (near >= far).all()
