import numpy as np
import pytest
from hypothesis import given, settings

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.pixels import accuracy, dice, iou
from tests import strategies

EMPTY, LEFT, BOTH = (np.array([pixels], dtype=bool) for pixels in ([0, 0], [1, 0], [1, 1]))


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        (EMPTY, EMPTY, (1, 1, 1)),
        (EMPTY, LEFT, (0, 0, 0.5)),
        (LEFT, EMPTY, (0, 0, 0.5)),
        (LEFT, BOTH, (1 / 2, 2 / 3, 1 / 2)),
    ],
)
def test_scores_follow_the_table(true, pred, expected):
    assert (iou(true, pred), dice(true, pred), accuracy(true, pred)) == pytest.approx(expected)


def test_labels_count_as_the_mask_of_all_instances():
    assert iou(np.array([[1, 2, 0]]), np.array([[5, 5, 0]])) == 1


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) but predicted one \(2, 1\)"):
        iou(LEFT, LEFT.T)


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_dice_follows_from_iou(pair):
    assert dice(*pair) == pytest.approx(2 * iou(*pair) / (1 + iou(*pair)))
