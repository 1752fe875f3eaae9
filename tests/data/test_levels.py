import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.data.inputs import prepare
from kaggle_unet.data.levels import find_levels, prepare_crop
from kaggle_unet.data.settings import InputSettings

SETTINGS = [
    InputSettings(),
    InputSettings(normalize="range"),
    InputSettings(normalize="range", invert_bright=True),
    InputSettings(channels=("red", "green", "blue"), invert_bright=True, mean=0.4, std=0.2),
    InputSettings(channels=("gray", "ramp", "gray_ramp", "depth"), mean=0.5, std=0.25),
]
shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))
images = shapes.flatmap(lambda s: st.sampled_from([s, (*s, 3)])).flatmap(lambda s: hnp.arrays(np.uint8, s))


@pytest.mark.parametrize("settings", SETTINGS)
@given(images)
def test_a_crop_that_is_the_whole_image_is_what_prepare_gives(settings, image):
    whole = prepare(image, settings, depth=300)
    crop = prepare_crop(image, settings, find_levels(image, settings), depth=300)
    assert crop.dtype == np.float32
    np.testing.assert_allclose(crop, whole, atol=2e-4)


def test_a_crop_without_objects_stays_dark():
    image = np.full((20, 20), 10, np.uint8)
    image[:, ::2] = 12
    image[15:, 15:] = 210
    crop = prepare_crop(image[:10, :10], InputSettings(), find_levels(image, InputSettings()))
    assert crop.max() < 0.02


def test_a_crop_inside_a_bright_object_is_not_inverted_by_itself():
    image = np.zeros((20, 20), np.uint8)
    image[:8, :8] = 200
    settings = InputSettings(normalize="range", invert_bright=True)
    crop = prepare_crop(image[:8, :8], settings, find_levels(image, settings))
    np.testing.assert_allclose(crop, 200 / 255, rtol=1e-6)
