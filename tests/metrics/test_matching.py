from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.score import score_image
from tests import naive, strategies


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


def test_an_iou_of_exactly_the_threshold_matches_unless_strict():
    pair = row(1, 1), row(1, 0)

    assert summarize([pair]).iloc[0].tp == 1
    assert summarize([pair], strict=True).iloc[0].tp == 0


def test_an_instance_in_two_halves_is_matched_once():
    first = summarize([(row(1, 1), row(1, 2))]).iloc[0]

    assert (first.tp, first.fp, first.fn) == (1, 1, 0)
    assert first.mean_matched_iou == 0.5


def test_two_halves_merged_into_one_are_matched_once():
    first = summarize([(row(1, 2), row(1, 1))]).iloc[0]

    assert (first.tp, first.fp, first.fn) == (1, 0, 1)


def test_all_scores_of_two_images_worked_by_hand():
    # IoU 2/3, and one miss of either kind; the second image is right throughout.
    pairs = [(row(1, 1, 1, 0, 2), row(1, 1, 0, 3, 0)), (row(1), row(1))]

    at_half = summarize(pairs).iloc[0]

    assert (at_half.tp, at_half.fp, at_half.fn) == (2, 1, 1)
    assert at_half.threshold_iou == 0.5
    assert at_half.ap_pooled == 0.5
    assert at_half.ap_per_image == pytest.approx((1 / 3 + 1) / 2)
    assert at_half.precision == at_half.recall == at_half.f1 == pytest.approx(2 / 3)
    assert at_half.mean_matched_iou == pytest.approx((2 / 3 + 1) / 2)
    assert at_half.pq == pytest.approx((2 / 3 + 1) / 3)


def test_empty_images_count_as_nothing_matched():
    rows = summarize([(row(0), row(0)), (row(1), row(1))])

    assert rows.iloc[0].ap_per_image == 0.5
    assert rows.iloc[0].ap_pooled == 1


def test_nothing_anywhere_is_zero_and_no_error():
    first = summarize([(row(0), row(0))]).iloc[0]

    assert (first.ap_pooled, first.precision, first.recall, first.f1, first.pq, first.mean_matched_iou) == (0,) * 6


def test_no_image_is_refused():
    with pytest.raises(DataError, match="no image to score"):
        summarize([])


def test_pairs_and_overlaps_may_be_given():
    pair = row(1, 2, 2), row(1, 1, 2)

    assert summarize([pair]).equals(summarize([count_overlap(*pair)]))


@given(st.lists(strategies.pairs(max_side=5, max_id=3), min_size=1, max_size=3), st.booleans())
@settings(max_examples=50, deadline=None)
def test_counts_are_those_of_an_assignment_on_fractions(pairs, strict):
    for found in summarize(pairs, strict=strict).itertuples():
        threshold = Fraction(round(20 * found.threshold_iou), 20)
        tp, fp, fn, matched = map(
            sum, zip(*(naive.match(*pair, threshold, strict=strict) for pair in pairs), strict=True)
        )
        assert (found.tp, found.fp, found.fn) == (tp, fp, fn)
        assert found.mean_matched_iou * tp == pytest.approx(float(matched))


@given(strategies.pairs())
@settings(max_examples=30, deadline=None)
def test_strict_counts_are_the_competitions(pair):
    score = score_image(*pair)

    assert summarize([pair], strict=True).tp.tolist() == score.tp.tolist()
