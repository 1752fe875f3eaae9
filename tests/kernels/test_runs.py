import numpy as np
from hypothesis import given, settings

from kaggle_unet.kernels.runs import count_runs, find_runs, paint_runs
from tests import strategies


def test_runs_end_at_another_id_as_at_background():
    ids = np.array([0, 3, 3, 1, 0, 1], dtype=np.int32)
    run_ids, runs = np.empty(3, dtype=np.int32), np.empty((3, 2), dtype=np.int64)

    assert count_runs(ids) == 3
    find_runs(ids, run_ids, runs)

    assert run_ids.tolist() == [3, 1, 1]
    assert runs.tolist() == [[1, 2], [3, 1], [5, 1]]


def test_an_empty_array_has_no_runs():
    assert count_runs(np.zeros(0, dtype=np.int32)) == 0
    assert count_runs(np.zeros(4, dtype=np.int32)) == 0


def test_painting_over_an_instance_marks_the_pixels_taken():
    ids, contested = np.array([1, 1, 0, 0], dtype=np.int32), np.zeros(4, dtype=bool)

    paint_runs(np.array([[1, 2]]), 2, ids, contested)

    assert ids.tolist() == [1, 2, 2, 0]
    assert contested.tolist() == [False, True, False, False]


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_painting_every_run_found_gives_the_labels_back(labels):
    ids = labels.ravel()
    run_ids = np.empty(count_runs(ids), dtype=np.int32)
    runs = np.empty((len(run_ids), 2), dtype=np.int64)
    painted, contested = np.zeros_like(ids), np.zeros(ids.shape, dtype=bool)

    find_runs(ids, run_ids, runs)
    for label, run in zip(run_ids, runs, strict=True):
        paint_runs(run[None], label, painted, contested)

    assert (painted == ids).all()
    assert not contested.any()
