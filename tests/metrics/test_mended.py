"""What mistakes cost: where all are of one kind, mending it gives a perfect score, and no mending ever costs."""

import numpy as np
import pytest
from hypothesis import given

from kaggle_unet.metrics.mended import KINDS, tabulate_mended
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.score import score_image
from tests import strategies

TRUE = np.array([[1] * 10 + [0] * 2 + [2] * 10 + [3] * 10 + [0] * 6], dtype=np.int32)

ONLY = {
    "outlines": np.array([[1] * 8 + [0] * 4 + [2] * 10 + [3] * 10 + [0] * 6]),
    "merged": np.array([[1] * 10 + [0] * 2 + [2] * 20 + [0] * 6]),
    "split": np.array([[1] * 5 + [4] * 5 + [0] * 2 + [2] * 10 + [3] * 10 + [0] * 6]),
    "missed": np.array([[1] * 10 + [0] * 2 + [2] * 10 + [0] * 10 + [0] * 6]),
    "extra": np.array([[1] * 10 + [0] * 2 + [2] * 10 + [3] * 10 + [0] * 3 + [4] * 3]),
}


def mend(true, pred):
    return {row.mended: row for row in tabulate_mended([count_overlap(true, pred.astype(np.int32))])}


@pytest.mark.parametrize("kind", KINDS)
def test_the_one_kind_of_mistake_that_there_is_costs_all_that_is_missing(kind):
    rows = mend(TRUE, ONLY[kind])
    score = score_image(TRUE, ONLY[kind].astype(np.int32)).mean
    assert score < 1
    assert rows[kind].score == 1
    for other in set(KINDS) - {kind}:
        assert rows[other].score == pytest.approx(score)
    assert all(row.gain == pytest.approx(row.score - score) for row in rows.values())


def test_a_set_s_score_is_the_mean_over_images():
    rows = tabulate_mended([count_overlap(TRUE, TRUE), count_overlap(TRUE, ONLY["extra"].astype(np.int32))])
    (extra,) = [row for row in rows if row.mended == "extra"]
    assert extra.score == 1
    assert extra.gain == pytest.approx((1 - 3 / 4) / 2)


def test_of_no_image_nothing_is_said():
    assert tabulate_mended([]) == []


@given(strategies.pairs())
def test_mending_never_costs_and_never_exceeds_perfection(pair):
    for row in mend(*pair).values():
        assert -1e-12 <= row.gain <= 1
        assert 0 <= row.score <= 1
