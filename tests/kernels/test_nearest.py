import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.nearest import BLOCK_PX
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


def assert_right(squares, labels, reach_px):
    """Compare with the stack of distance transforms: exact within the reach, and beyond it not within."""
    expected = naive.two_nearest_px(labels)
    is_within = (labels == 0) & (expected.sum(axis=0) <= reach_px)
    assert (squares[:, is_within] == np.rint(expected[:, is_within] ** 2)).all()
    assert (np.sqrt(squares[:, ~is_within].astype(float)).sum(axis=0) > reach_px).all()


@given(strategies.labels(max_side=14, max_id=6), st.floats(0.5, 40))
@settings(max_examples=80, deadline=None)
def test_the_two_nearest_are_those_of_a_stack_of_distance_transforms(labels, reach_px):
    assert_right(two_nearest_squares(labels, reach_px=reach_px), labels, reach_px)


@pytest.mark.parametrize("reach_px", [12.5, 126, 300])
@pytest.mark.parametrize("n_instances", [2, 40])
def test_images_wider_than_a_block_have_no_seams(reach_px, n_instances):
    rng = np.random.default_rng(n_instances)
    labels = np.zeros((37, 2 * BLOCK_PX + 45), dtype=np.int32)
    labels[rng.integers(0, 37, n_instances), rng.integers(0, labels.shape[1], n_instances)] = 1 + np.arange(n_instances)

    assert_right(two_nearest_squares(labels, reach_px=reach_px), labels, reach_px)


def test_a_long_reach_takes_wider_integers():
    far_apart = np.zeros((1, 400), dtype=np.int32)
    far_apart[0, 0], far_apart[0, -1] = 7, 9

    assert two_nearest_squares(far_apart, reach_px=399)[:, 0, 100].tolist() == [100**2, 299**2]
    assert two_nearest_squares(far_apart, reach_px=126).dtype == np.int16
