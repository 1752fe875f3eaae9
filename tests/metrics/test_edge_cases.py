"""The table of edge cases in docs/scores.md, row by row."""

import numpy as np
import pytest

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.pixels import count_pixels, dice, iou
from kaggle_unet.metrics.score import score_image, score_mask


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


CORNERS = {
    # name: truth, prediction; score of DSB2018 and of TGS; tp, fp, fn at IoU ≥ 0.5; IoU and Dice of pixels
    "both empty": (row(0, 0), row(0, 0), 1, 1, (0, 0, 0), (1, 1)),
    "truth empty": (row(0, 0), row(0, 1), 0, 0, (0, 1, 0), (0, 0)),
    "prediction empty": (row(0, 1), row(0, 0), 0, 0, (0, 0, 1), (0, 0)),
    "no background": (row(1, 1, 2, 2), row(1, 1, 2, 2), 1, 1, (2, 0, 0), (1, 1)),
    "pieces": (row(1, 0, 1), row(1, 0, 1), 1, 1, (1, 0, 0), (1, 1)),
    "IoU at the threshold": (row(1, 1, 0), row(1, 0, 0), 0, 0, (1, 0, 0), (1 / 2, 2 / 3)),
    "two halves": (row(1, 1, 0), row(1, 2, 0), 0, 1, (1, 1, 0), (1, 1)),
    "two in one": (row(1, 2, 0), row(1, 1, 0), 0, 1, (1, 0, 1), (1, 1)),
    "two unequal parts": (row(1, 1, 1, 0), row(1, 1, 2, 0), 4 / 10 / 2, 1, (1, 1, 0), (1, 1)),
    "gaps": (row(1, 0, 7), row(300, 0, 2), 1, 1, (2, 0, 0), (1, 1)),
    "no pixel": (row(), row(), 1, 1, (0, 0, 0), (1, 1)),
}


@pytest.mark.parametrize(("true", "pred", "dsb2018", "tgs", "counts", "of_pixels"), CORNERS.values(), ids=CORNERS)
def test_edge_cases_are_as_the_table_has_them(true, pred, dsb2018, tgs, counts, of_pixels):
    at_half = summarize([(true, pred)]).iloc[0]
    tp, fp, fn = counts

    assert score_image(true, pred).mean == pytest.approx(dsb2018)
    assert score_mask(true > 0, pred > 0).mean == tgs
    assert (at_half.tp, at_half.fp, at_half.fn) == counts
    assert at_half.ap_pooled == at_half.ap_per_image == (tp / sum(counts) if tp else 0)
    assert at_half.f1 == (2 * tp / (2 * tp + fp + fn) if tp else 0)
    assert at_half.pq == pytest.approx(at_half.mean_matched_iou * at_half.f1)
    assert (iou(true, pred), dice(true, pred)) == pytest.approx(of_pixels)


@pytest.mark.parametrize("score", [score_image, score_mask, iou, dice, lambda *pair: summarize([pair])])
def test_different_shapes_are_refused_by_every_score(score):
    with pytest.raises(DataError, match="both must be of the same image"):
        score(np.zeros((1, 2), dtype=np.int32), np.zeros((2, 1), dtype=np.int32))


def test_no_image_at_all_is_refused():
    with pytest.raises(DataError, match="no image to score"):
        summarize([])


def test_pixels_of_labels_are_those_of_all_instances():
    assert count_pixels(row(1, 2, 0, 0), row(0, 7, 7, 0)) == (1, 2, 2)
