"""How large objects are, and at which scale an image is shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.inference.predict import scale_to
from kaggle_unet.masks.labels import object_diameter_px


def test_crumbs_do_not_make_objects_small():
    assert object_diameter_px(np.array([400] * 5 + [4] * 50)) == pytest.approx(np.sqrt(1600 / np.pi))


@pytest.mark.parametrize("areas", [[], [50, 60], [0, 0, 50, 60]])
def test_few_objects_tell_nothing(areas):
    assert object_diameter_px(np.array(areas, dtype=np.int64)) is None


@given(st.lists(st.integers(1, 10_000), min_size=3, max_size=30), st.integers(2, 5))
def test_objects_of_twice_the_side_have_twice_the_diameter(areas, factor):
    once = object_diameter_px(np.array(areas))
    assert object_diameter_px(np.array(areas) * factor**2) == pytest.approx(factor * once)
    assert object_diameter_px(np.array(areas[::-1])) == once


@given(st.floats(1, 100), st.floats(1, 100))
def test_scaled_objects_have_the_known_size_or_differ_little_or_as_little_as_can_be(known, found):
    scale, quotient = scale_to(known, found), known / found
    if max(quotient, 1 / quotient) < 1.499:
        assert scale == 1
    elif max(quotient, 1 / quotient) > 1.501:
        assert scale == pytest.approx(np.clip(quotient, 0.25, 4))
