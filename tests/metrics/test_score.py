import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.masks.labels import components
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS, score_image, score_mask
from tests import naive, realdata, strategies


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


def test_thresholds_are_ten_steps_of_a_twentieth():
    assert [k / 20 for k in THRESHOLDS_TWENTIETHS] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_an_iou_of_exactly_a_half_is_no_hit():
    score = score_image(row(1, 1), row(1, 0))

    assert score.tp.tolist() == [0] * 10
    assert score.mean == 0


def test_an_iou_of_three_fifths_beats_two_thresholds_but_not_its_own():
    # 0.6 as a float is above 12/20; the integers are equal.
    score = score_image(row(1, 1, 1, 1, 1), row(1, 1, 1, 0, 0))

    assert score.tp.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert score.mean == 0.2


def test_hits_and_misses_of_three_instances_worked_by_hand():
    true = row(1, 1, 1, 1, 2, 2, 0, 0, 3, 3)
    pred = row(1, 1, 1, 0, 2, 2, 4, 4, 0, 0)
    # Instance 1 has IoU 3/4, 2 is exact, 3 is missed, 4 was invented.
    score = score_image(true, pred)

    assert score.tp.tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    assert score.fp.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert score.fn.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert score.precision.tolist() == [0.5] * 5 + [0.2] * 5
    assert score.mean == pytest.approx(0.35)


def test_two_empty_images_score_one_and_a_single_empty_one_nothing():
    empty, full = row(0, 0), row(1, 1)

    assert score_image(empty, empty).mean == 1
    assert score_image(full, empty).mean == 0
    assert score_image(empty, full).mean == 0


def test_two_halves_of_an_instance_are_both_misses():
    score = score_image(row(1, 1), row(1, 2))

    assert score.tp[0] == 0
    assert score.fp[0] == 2


def test_an_image_without_background_loses_no_instance():
    assert score_image(row(1, 1, 2, 2), row(1, 1, 2, 2)).mean == 1


def test_ids_with_gaps_score_as_consecutive_ones():
    assert score_image(row(1, 0, 7), row(300, 0, 2)).mean == 1


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_the_truth_scores_one(labels):
    assert score_image(labels, labels).mean == 1


@given(strategies.pairs(), st.permutations(range(1, 5)), st.permutations([3, 40, 500, 6]))
@settings(max_examples=50, deadline=None)
def test_relabelling_changes_no_score(pair, new_true_ids, new_pred_ids):
    true, pred = pair

    again = score_image(np.array([0, *new_true_ids])[true], np.array([0, *new_pred_ids])[pred])

    assert again.mean == score_image(true, pred).mean


@given(strategies.pairs(max_side=5, max_id=3))
@settings(max_examples=100, deadline=None)
def test_scores_equal_those_of_an_assignment_on_fractions(pair):
    assert score_image(*pair).mean == pytest.approx(float(naive.score_image(*pair)), abs=1e-15)


@given(strategies.masks(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_a_mask_scores_a_tenth_for_each_threshold_its_iou_is_above(true, random):
    pred = true ^ np.array([[random.random() < 0.1 for _ in line] for line in true])
    shared, united = (true & pred).sum(), (true | pred).sum()

    expected = sum(20 * shared > k * united for k in range(10, 20)) if united else 10

    assert score_mask(true, pred).mean == pytest.approx(expected / 10)


def test_masks_follow_the_table_of_the_second_competition():
    salt, none = np.ones((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)

    assert [score_mask(t, p).mean for t in (salt, none) for p in (salt, none)] == [1, 0, 0, 1]


@pytest.mark.realdata
def test_scores_on_real_nuclei_equal_those_of_an_assignment_on_fractions(real_data):
    every = realdata.dsb2018_labels(real_data)[0].values()
    few = [labels for labels in every if labels.size <= 65536 and labels.max() <= 25]

    for labels in few[:20]:
        fused = components(labels > 0)
        for pred in (fused, np.roll(labels, 2, axis=1), labels * (labels % 3 > 0)):
            assert score_image(labels, pred).mean == pytest.approx(float(naive.score_image(labels, pred)), abs=1e-15)
