import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.rle import ID, X, find_segments, join_segments, paint_runs, sort_segments
from tests import naive, strategies


def find(ids, capacity):
    """Find all segments, in an array that is as small as it may be each time."""
    words, rows = np.zeros(-(-ids.shape[1] // 32) * 4, dtype=np.uint64), np.zeros((2, ids.shape[1]), dtype=np.int32)
    segments, counts = np.empty((capacity, 4), dtype=np.int32), np.array([1, 0, 0])
    while True:
        find_segments(ids, counts, rows, words, segments)
        y, n, highest = counts.tolist()
        if y > ids.shape[0]:
            assert highest == ids.max()
            return segments[:n]
        segments = np.concatenate([segments[:n], np.empty((ids.shape[1], 4), dtype=np.int32)])


def sort(segments, key):
    places, ordered = np.zeros(int(segments[:, key].max(initial=0)) + 2, dtype=np.int64), np.empty_like(segments)
    sort_segments(segments, key, places, ordered)
    return ordered


def join(segments, shape):
    runs, firsts = np.empty((len(segments), 2), dtype=np.int64), np.empty(len(segments) + 1, dtype=np.int64)
    ids, places = np.empty(len(segments), dtype=np.int32), np.zeros(shape[1] + 99, dtype=np.int64)
    n = join_segments(segments, np.empty_like(segments), places, shape, runs, ids, firsts)
    return runs[: firsts[n]], ids[:n], firsts[: n + 1]


def test_segments_come_in_the_order_of_the_rows_in_which_they_end():
    ids = np.array([[0, 3, 1], [2, 3, 0], [2, 1, 1]], dtype=np.int32)

    assert find(ids, 20).tolist() == [[2, 0, 1, 1], [1, 0, 2, 3], [0, 1, 2, 2], [1, 2, 1, 1], [2, 2, 1, 1]]


@given(labels=strategies.labels(max_side=20), capacity=st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_sorted_segments_are_those_of_the_twin_however_often_the_array_is_full(labels, capacity):
    segments = sort(sort(find(labels, capacity), X), ID)

    assert segments.tolist() == naive.find_segments(labels)


def test_sorting_keeps_the_order_of_equals():
    segments = np.array([[1, 9, 0, 0], [0, 8, 0, 0], [1, 7, 0, 0], [0, 6, 0, 0]], dtype=np.int32)

    assert sort(segments, X)[:, 1].tolist() == [8, 6, 9, 7]


def test_segments_that_meet_are_joined_if_they_have_one_id():
    segments = np.array([[2, 1, 1, 7], [1, 0, 3, 4], [0, 1, 2, 4], [2, 0, 1, 4]], dtype=np.int32)

    runs, ids, firsts = join(segments, (3, 3))

    assert runs.tolist() == [[1, 6], [7, 1]]
    assert ids.tolist() == [4, 7]
    assert firsts.tolist() == [0, 1, 2]


def test_segments_that_leave_a_gap_are_not_joined():
    assert join(np.array([[0, 0, 1, 4], [1, 0, 1, 4]], dtype=np.int32), (2, 2))[0].tolist() == [[0, 1], [2, 1]]


def test_large_images_have_starts_beyond_32_bits():
    assert join(np.array([[70_000, 5, 1, 1]], dtype=np.int32), (70_000, 70_001))[0].tolist() == [[4_900_000_005, 1]]


def test_the_first_painted_keeps_its_pixels_and_what_others_claim_is_marked():
    labels = np.zeros((3, 2), dtype=np.int32)
    runs, firsts = np.array([[0, 4], [1, 1], [3, 2], [1, 1]]), np.array([0, 1, 3, 4])

    n_contested = paint_runs(runs, firsts, np.array([1, 0, 2]), labels)

    assert n_contested == 2
    assert labels.tolist() == [[1, -2], [-2, 2], [1, 0]]


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_painting_every_run_found_gives_the_labels_back(labels):
    runs, ids, firsts = join(find(labels, 400), labels.shape)
    painted = np.zeros_like(labels)

    assert paint_runs(runs, firsts, np.arange(len(ids)), painted) == 0
    assert (painted == labels).all()
