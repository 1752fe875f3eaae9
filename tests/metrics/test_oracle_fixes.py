"""Oracle fixes: where all errors are of one type, fixing it gives a perfect score, and no fix ever costs."""

import numpy as np
import pytest
from hypothesis import given

from kaggle_unet.metrics.error_types import KINDS, PRED_ERROR_TYPES, find_error_types, tabulate_oracle_fixes
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


def fix(true, pred):
    return {
        row.error_type: row for row in tabulate_oracle_fixes([count_overlap(true, pred.astype(np.int32))]).itertuples()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_one_error_type_that_there_is_costs_all_that_is_missing(kind):
    rows = fix(TRUE, ONLY[kind])
    score = score_image(TRUE, ONLY[kind].astype(np.int32)).mean
    assert score < 1
    assert rows[kind].score == 1
    for other in set(KINDS) - {kind}:
        assert rows[other].score == pytest.approx(score)
    assert all(row.gain == pytest.approx(row.score - score) for row in rows.values())


def test_a_set_s_score_is_the_mean_over_images():
    table = tabulate_oracle_fixes([count_overlap(TRUE, TRUE), count_overlap(TRUE, ONLY["extra"].astype(np.int32))])
    extra = table.set_index("error_type").loc["extra"]
    assert extra.score == 1
    assert extra.gain == pytest.approx((1 - 3 / 4) / 2)


def test_without_images_there_are_no_rows():
    assert tabulate_oracle_fixes([]).empty


def test_a_prediction_of_half_an_object_is_missed_and_extra_and_no_outline():
    rows = fix(TRUE, np.array([[1] * 5 + [0] * 7 + [2] * 10 + [3] * 10 + [0] * 6]))  # an IoU of 1/2 is no hit
    assert {kind: row.score for kind, row in rows.items()} == pytest.approx(
        {"outlines": 2 / 4, "merged": 2 / 4, "split": 2 / 4, "missed": 3 / 4, "extra": 2 / 3}
    )


def test_a_small_object_that_a_found_one_swallows_is_merged_and_a_fragment_beside_a_found_one_split():
    true = np.array([[1] * 9 + [2] * 2 + [3] * 9], dtype=np.int32)
    rows = fix(true, np.array([[1] * 11 + [2] * 8 + [3]]))  # IoUs of 9/11 (7 thresholds) and 8/9 (8)
    score = (7 * 2 / 4 + 1 / 5) / 10
    assert {kind: row.score for kind, row in rows.items()} == pytest.approx(
        {"outlines": 2 / 4, "merged": (7 * 3 / 4 + 2 / 5 + 2 * 1 / 6) / 10, "split": (7 * 2 / 3 + 1 / 4) / 10,
         "missed": score, "extra": score}
    )  # fmt: skip


@given(strategies.pairs())
def test_fixing_extra_objects_gives_what_erasing_their_pixels_gives(pair):
    true, pred = pair
    ids = np.unique(pred[pred > 0])
    is_extra = find_error_types(count_overlap(true, pred)).pred == PRED_ERROR_TYPES.index("extra")
    erased = np.where(np.isin(pred, ids[is_extra]), 0, pred)
    assert fix(true, pred)["extra"].score == score_image(true, erased).mean


@given(strategies.pairs())
def test_a_fix_never_costs_and_never_exceeds_perfection(pair):
    for row in fix(*pair).values():
        assert -1e-12 <= row.gain <= 1
        assert 0 <= row.score <= 1
