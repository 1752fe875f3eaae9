import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.masks.window import NOBODY, scan_window
from tests import naive, strategies


def test_the_lowest_id_is_nobody_where_no_instance_is_near():
    labels = np.array([[4, 0, 0, 0]], dtype=np.int32)

    highest, lowest = scan_window(labels, 1, with_background=False)

    assert highest.tolist() == [[4, 4, 0, 0]]
    assert lowest.tolist() == [[4, 4, NOBODY, NOBODY]]


@given(strategies.labels(), st.integers(1, 12), st.booleans())
@settings(max_examples=50, deadline=None)
def test_two_passes_see_what_the_twin_sees_in_the_square(labels, radius, with_background):
    found = scan_window(labels, radius, with_background=with_background)

    expected = naive.scan_window(labels, radius, with_background=with_background, nobody=NOBODY)
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()
