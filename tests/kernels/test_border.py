import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.border import FREE, SEEN, keep_within_radius, mark_near, survey_marks
from tests import naive, strategies


def mark(labels, radius, rule, value, marked):
    rows = np.full((2 * radius + 6, 2 * (labels.shape[1] + 2 * radius)), 77, dtype=np.int32)
    assert mark_near(labels, radius, rule == "contour", value, rows, marked) == np.bitwise_or.reduce(labels, axis=None)
    return marked


@given(strategies.labels(max_side=16), st.integers(1, 20), st.sampled_from(["touching", "contour"]))
@settings(max_examples=100, deadline=None)
def test_running_extrema_see_what_the_twin_sees_in_the_square(labels, radius, rule):
    marked = mark(labels, radius, rule, 1, np.zeros(labels.shape, dtype=np.uint8))

    assert (marked == naive.border(labels, rule, lambda _: radius)).all()


def test_pixels_that_are_not_marked_stay_as_they_are():
    labels = np.array([[1, 2, 0, 0]], dtype=np.int32)

    marked = mark(labels, 1, "touching", 7, np.full(labels.shape, 3, dtype=np.uint8))

    assert marked.tolist() == [[7, 7, 3, 3]]


def test_a_window_wider_than_the_image_holds_all_of_it():
    labels = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 2]], dtype=np.int32)

    assert mark(labels, 32, "touching", 1, np.zeros(labels.shape, dtype=np.uint8)).all()


def test_marks_of_larger_radii_than_the_ids_own_are_cleared():
    labels, marked = np.array([[0, 0, 1, 1]], dtype=np.int32), np.array([[0, 6, 2, 3]], dtype=np.uint8)

    keep_within_radius(labels, np.array([6, 2], dtype=np.uint8), marked)

    assert marked.tolist() == [[0, 1, 1, 0]]


def test_marks_are_surveyed_by_id():
    labels = np.array([[0, 1, 1, 3]], dtype=np.int32)
    found = np.zeros(4, dtype=np.uint8)

    survey_marks(labels, np.array([[0, 1, 0, 1]], dtype=np.uint8), found)

    assert found.tolist() == [SEEN + FREE, SEEN + FREE, 0, SEEN]
