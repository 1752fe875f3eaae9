import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given, settings

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.score import count_pixels, dice, iou
from tests import strategies

EMPTY, LEFT, BOTH = (np.array([pixels], dtype=bool) for pixels in ([0, 0], [1, 0], [1, 1]))


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        (EMPTY, EMPTY, (1, 1)),
        (EMPTY, LEFT, (0, 0)),
        (LEFT, EMPTY, (0, 0)),
        (LEFT, BOTH, (1 / 2, 2 / 3)),
    ],
)
def test_scores_follow_the_table(true, pred, expected):
    assert (iou(true, pred), dice(true, pred)) == pytest.approx(expected)


def test_labels_count_as_the_mask_of_all_instances():
    assert iou(np.array([[1, 2, 0]]), np.array([[5, 5, 0]])) == 1


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) but predicted one \(2, 1\)"):
        iou(LEFT, LEFT.T)


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_dice_follows_from_iou(pair):
    assert dice(*pair) == pytest.approx(2 * iou(*pair) / (1 + iou(*pair)))


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_scores_are_ones_less_the_distances_of_scipy(pair):
    true, pred = ((labels > 0).ravel() for labels in pair)

    assert iou(*pair) == pytest.approx(1 - scipy.spatial.distance.jaccard(true, pred))
    if true.any() or pred.any():
        assert dice(*pair) == pytest.approx(1 - scipy.spatial.distance.dice(true, pred))


@given(strategies.pairs())
@settings(max_examples=20, deadline=None)
def test_memory_order_and_type_do_not_matter(pair):
    expected = count_pixels(*pair)
    true, pred = (labels > 0 for labels in pair)

    assert count_pixels(np.asfortranarray(true), pred) == expected
    assert count_pixels(true[::-1, ::-1], pair[1][::-1, ::-1].astype(np.uint16)) == expected
