import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.border import FREE, NO_ID, SEEN, mark_near, survey_marks
from tests import naive, strategies


def mark(labels, radius, rule, value, marked):
    pair = np.repeat(np.array((0, -NO_ID), dtype=np.int32), labels.shape[1] + 2 * radius)
    tails = np.empty((2 * radius + 2, pair.size), dtype=np.int32)
    tails[-1] = pair
    mark_near(labels, radius, rule == "contour", value, pair, tails, np.empty((3, pair.size), np.int32), marked)
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


def test_marks_are_surveyed_by_id():
    labels = np.array([[0, 1, 1, 3]], dtype=np.int32)
    found = np.zeros(4, dtype=np.uint8)

    survey_marks(labels, np.array([[0, 1, 0, 1]], dtype=np.uint8), found)

    assert found.tolist() == [SEEN + FREE, SEEN + FREE, 0, SEEN]
