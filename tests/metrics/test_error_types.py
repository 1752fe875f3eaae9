"""Error types: each of them on a drawn line, and the laws that hold for any labels."""

import numpy as np
import pytest
from hypothesis import given

from kaggle_unet.metrics.error_types import PRED_ERROR_TYPES, TRUE_ERROR_TYPES, find_error_types, tabulate_areas
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.score import score_overlap
from tests import strategies


def line(*ids):
    return np.array([ids], dtype=np.int32)


def error_types(true, pred):
    found = find_error_types(count_overlap(true, pred))
    return [TRUE_ERROR_TYPES[error_type] for error_type in found.true], [
        PRED_ERROR_TYPES[error_type] for error_type in found.pred
    ]


@pytest.mark.parametrize(
    ("true", "pred", "of_true", "of_pred"),
    [
        (line(1, 1, 1, 0), line(1, 1, 0, 0), ["found"], ["found"]),
        (line(1, 1, 0, 0), line(0, 1, 1, 0), ["missed"], ["extra"]),  # an IoU of 1/3
        (line(1, 1, 0, 0), line(1, 1, 1, 1), ["missed"], ["extra"]),  # of exactly 1/2
        (line(1, 0, 2, 2), line(0, 0, 0, 0), ["missed", "missed"], []),
        (line(0, 0, 0, 0), line(1, 0, 2, 2), [], ["extra", "extra"]),
        (line(1, 1, 2, 2), line(1, 1, 1, 1), ["merged", "merged"], ["merging"]),
        (line(1, 1, 1, 2), line(1, 1, 1, 1), ["found", "merged"], ["found"]),  # the small one is swallowed
        (line(1, 1, 1, 1), line(1, 1, 2, 2), ["split"], ["part", "part"]),
        (line(1, 1, 1, 1), line(1, 1, 1, 2), ["found"], ["found", "part"]),  # a fragment beside it
        (line(1, 1, 1, 1, 0, 0), line(1, 1, 0, 2, 2, 2), ["missed"], ["extra", "extra"]),  # only one lies in it
    ],
)
def test_every_object_has_its_error_type(true, pred, of_true, of_pred):
    assert error_types(true, pred) == (of_true, of_pred)


@given(strategies.pairs())
def test_found_objects_are_the_hits_of_the_score_and_from_the_other_side_the_same_ones_are_wrong(pair):
    true, pred = pair
    overlap = count_overlap(true, pred)
    found, swapped = find_error_types(overlap), find_error_types(count_overlap(pred, true))

    assert (found.true == 0).sum() == (found.pred == 0).sum() == score_overlap(overlap).tp[0]
    assert (np.isnan(found.bias_px) == (found.true != 0)).all()
    # Seen from the other side, what merges is split, and what is extra is missed.
    assert ((found.true == 3) == (swapped.pred == 3)).all()
    assert ((found.pred == 0) == (swapped.true == 0)).all()
    assert (np.isin(found.true, (1, 2)) == np.isin(swapped.pred, (1, 2))).all()


@given(strategies.pairs())
def test_the_table_counts_every_object_once(pair):
    overlap = count_overlap(*pair)

    *ranges, all_ = tabulate_areas([overlap, overlap], edges_px=(0, 2, 5)).itertuples()

    assert all_.objects == 2 * overlap.n_true == all_.found + all_.merged + all_.split + all_.missed
    for name in ("objects", "found", "merged", "split", "missed", "extra"):
        assert sum(getattr(row, name) for row in ranges) == getattr(all_, name)


def test_ranges_begin_at_their_edges_and_bias_is_that_of_drawn_discs():
    true, pred = np.zeros((40, 90), dtype=np.int32), np.zeros((40, 90), dtype=np.int32)
    y, x = np.mgrid[:40, :90]
    for id_, (centre, radius) in enumerate([(20, 10), (60, 14)], start=1):
        away = np.hypot(y - 20, x - centre)
        true[away <= radius], pred[away <= radius + 2] = id_, id_

    rows = list(tabulate_areas([count_overlap(true, pred)], edges_px=(0, 317, 500)).itertuples())

    assert [(row.area_px, row.objects, row.found) for row in rows] == [
        ("317–499", 1, 1),  # 317 pixels lie within 10 of a pixel
        ("500 and more", 1, 1),
        ("all", 2, 2),
    ]
    assert all(row.bias_px == pytest.approx(2, abs=0.25) for row in rows)


def test_no_object_at_all_leaves_one_row():
    empty = np.zeros((3, 3), dtype=np.int32)

    (row,) = tabulate_areas([count_overlap(empty, empty)]).itertuples()

    assert (row.objects, row.extra, row.mean_best_iou, row.bias_px) == (0, 0, 0.0, 0.0)
