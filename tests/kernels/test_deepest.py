import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.watershed import FREE, SEEN, find_innermost, survey_marks
from tests import naive, strategies


@given(strategies.labels(max_side=12, max_id=3), st.data())
@settings(max_examples=100, deadline=None)
def test_the_deepest_pixels_are_those_of_the_twin(labels, data):
    n = int(labels.max())
    is_wanted = np.array([False, *data.draw(st.lists(st.booleans(), min_size=n, max_size=n))])
    squares, places = np.zeros(n + 1, dtype=np.int64), np.full(n + 1, -1, dtype=np.int64)

    find_innermost(labels, is_wanted, np.empty_like(labels), squares, places)

    for label in range(n + 1):
        expected = np.ravel_multi_index(naive.deepest(labels, label), labels.shape) if is_wanted[label] else -1
        assert places[label] == expected


def test_of_a_tall_instance_the_deepest_pixel_is_not_the_one_deepest_in_its_column():
    labels = np.ones((9, 3), dtype=np.int32)
    labels[:, 0] = 0
    squares, places = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)

    find_innermost(labels, np.array([False, True]), np.empty_like(labels), squares, places)

    assert (squares[1], places[1]) == (4, 2)


def test_marks_are_surveyed_by_id():
    labels = np.array([[0, 1, 1, 3]], dtype=np.int32)
    found = np.zeros(4, dtype=np.uint8)

    survey_marks(labels, np.array([[0, 1, 0, 1]], dtype=np.uint8), found)

    assert found.tolist() == [SEEN + FREE, SEEN + FREE, 0, SEEN]
