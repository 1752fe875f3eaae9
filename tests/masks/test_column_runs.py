import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.masks.column_runs import (
    find_column_runs,
    paint_column_runs,
    paint_instances,
    paint_masks,
    runs_of_mask,
)
from tests import strategies


def test_runs_of_all_instances_lie_one_behind_the_other():
    runs, firsts, ids = find_column_runs(np.array([[5, 2], [5, 5]], dtype=np.int32))

    assert runs.tolist() == [[2, 1], [0, 2], [3, 1]]
    assert firsts.tolist() == [0, 1, 3]
    assert ids.tolist() == [2, 5]


def test_ids_may_be_negative_or_far_above_the_number_of_pixels():
    runs, firsts, ids = find_column_runs(np.array([[2**31 - 1, -7], [0, -7]], dtype=np.int32))

    assert runs.tolist() == [[2, 2], [0, 1]]
    assert firsts.tolist() == [0, 1, 2]
    assert ids.tolist() == [-7, 2**31 - 1]


def test_more_runs_than_were_expected_are_found():
    noise = np.indices((63, 32)).sum(axis=0) % 2 == 1  # every pixel a run of its own: far more than in real images

    assert len(runs_of_mask(noise)) == noise.sum()


def test_a_mask_of_other_values_than_one_is_one_instance():
    assert paint_masks([np.array([[1, 255], [3, 0]], dtype=np.uint8)], (2, 2))[0].tolist() == [[1, 1], [1, 0]]


@given(strategies.masks(), st.tuples(*[st.integers(0, 3)] * 4))
def test_runs_of_a_part_are_those_of_the_mask_round_it(part, frame):
    top, bottom, left, right = frame
    mask = np.pad(part, ((top, bottom), (left, right)))
    flat = np.flatnonzero(mask.T.ravel())
    starts = [px for px in flat if px - 1 not in flat]
    expected = [[start, next(n for n in range(1, mask.size + 1) if start + n not in flat)] for start in starts]

    assert find_column_runs(part, top=top, left=left, n_y=mask.shape[0])[0].tolist() == expected
    assert runs_of_mask(mask).tolist() == expected


def test_no_instance_has_no_runs():
    runs, firsts, ids = find_column_runs(np.zeros((2, 2), dtype=np.int32))

    assert ids.size == 0
    assert runs.shape == (0, 2)
    assert firsts.tolist() == [0]
    assert runs_of_mask(np.zeros((2, 2), dtype=bool)).shape == (0, 2)


def test_painting_the_runs_of_labels_gives_the_labels_back():
    labels = np.array([[1, 1, 0], [2, 1, 3]], dtype=np.int32)
    runs, firsts, _ = find_column_runs(labels)

    painted, n_contested = paint_column_runs(runs, firsts, labels.shape)

    assert (painted == labels).all()
    assert n_contested == 0


def test_no_instance_painted_is_background():
    labels, n_contested, n_empty = paint_instances([], (2, 3))

    assert (labels == np.zeros((2, 3))).all()
    assert (n_contested, n_empty) == (0, 0)


def test_a_pixel_that_three_claim_counts_once():
    labels, n_contested, _ = paint_instances([np.array([[0, length]]) for length in (3, 1, 2)], (3, 1))

    assert labels.ravel().tolist() == [2, 3, 1]
    assert n_contested == 2


def test_of_equals_the_one_with_the_first_pixel_not_in_both_wins_also_beyond_a_byte():
    early, late = np.array([[0, 1], [255, 1]]), np.array([[0, 1], [256, 1]])

    assert paint_instances([late, early], (300, 1))[0][0, 0] == 2
    assert paint_instances([early, late], (300, 1))[0][0, 0] == 1


def test_an_instance_hidden_by_its_equal_leaves_no_gap_in_the_ids():
    runs = np.array([[0, 1]])

    labels, n_contested, n_empty = paint_instances([runs, runs, np.array([[1, 1]])], (2, 1))

    assert labels.ravel().tolist() == [1, 2]
    assert (n_contested, n_empty) == (1, 1)
