import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kaggle_unet.data.inputs import LUMA, find_intensity_range, prepare, refuse_missing_depths
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import ConfigError, DataError

RANGE = InputSettings(normalize="range")
EVERY_KIND = [
    InputSettings(),
    InputSettings(normalize="range"),
    InputSettings(normalize="range", invert_bright=True),
    InputSettings(channels=("red", "green", "blue"), invert_bright=True, mean=0.4, std=0.2),
    InputSettings(channels=("gray", "ramp", "gray_ramp", "depth"), mean=0.5, std=0.25),
]
shapes = st.one_of(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(st.just(5), st.just(7), st.just(3)))


@given(
    image=shapes.flatmap(lambda shape: arrays(np.uint8, shape)),
    normalize=st.sampled_from(["percentile", "range"]),
    invert=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_every_image_gives_finite_float32_planes(image, normalize, invert):
    channels = ("gray", "red", "green", "blue", "depth", "ramp", "gray_ramp")
    inputs = prepare(image, InputSettings(channels=channels, normalize=normalize, invert_bright=invert), depth=306.0)
    assert inputs.dtype == np.float32
    assert inputs.shape == (7, *image.shape[:2])
    assert inputs.flags.c_contiguous
    assert np.isfinite(inputs).all()


images = shapes.flatmap(lambda shape: arrays(np.uint8, shape))


@given(images, st.booleans())
def test_levels_are_numpy_s_percentiles_of_the_luma(image, invert):
    luma = image @ LUMA if image.ndim == 3 else image.astype(np.float32)
    low, high = np.percentile(luma, (1, 99.8))
    if high - low < 1:
        low, high = luma.min(), max(luma.max(), luma.min() + 1)
    expected = (high, low) if invert and np.median(luma) - low > (high - low) / 2 else (low, high)
    assert find_intensity_range(image, InputSettings(invert_bright=invert)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", EVERY_KIND)
@given(image=images)
def test_an_image_s_own_levels_are_those_that_are_found_for_it(settings, image):
    whole = prepare(image, settings, depth=300)
    again = prepare(image, settings, depth=300, intensity_range=find_intensity_range(image, settings))
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("settings", EVERY_KIND[:4])
def test_a_crop_by_the_image_s_levels_is_a_crop_of_the_image_s_inputs(settings):
    image = np.random.default_rng(0).integers(20, 200, (9, 8, 3), dtype=np.uint8)
    crop = prepare(image[2:6, 1:5], settings, intensity_range=find_intensity_range(image, settings))
    np.testing.assert_allclose(crop, prepare(image, settings)[:, 2:6, 1:5], atol=1e-6)


def test_a_crop_without_objects_stays_dark():
    image = np.full((20, 20), 10, np.uint8)
    image[:, ::2] = 12
    image[15:, 15:] = 210
    crop = prepare(image[:10, :10], InputSettings(), intensity_range=find_intensity_range(image, InputSettings()))
    assert crop.max() < 0.02


def test_a_crop_inside_a_bright_object_is_not_inverted_by_itself():
    image = np.zeros((20, 20), np.uint8)
    image[:8, :8] = 200
    settings = InputSettings(normalize="range", invert_bright=True)
    crop = prepare(image[:8, :8], settings, intensity_range=find_intensity_range(image, settings))
    np.testing.assert_allclose(crop, 200 / 255, rtol=1e-6)


def test_range_divides_by_255():
    assert prepare(np.array([[0, 51, 255]], dtype=np.uint8), RANGE).ravel() == pytest.approx([0, 0.2, 1])


def test_percentile_maps_the_1st_to_0_and_the_99_8th_to_1():
    # 1001 pixels, so that both percentiles fall on a pixel: rank 10 holds 20, rank 998 holds 220
    image = np.repeat(np.array([0, 20, 120, 220, 255], dtype=np.uint8), [10, 300, 400, 289, 2])[np.newaxis]
    inputs = prepare(image, InputSettings())[0, 0]
    assert inputs[[10, 400, 998]] == pytest.approx([0, 0.5, 1])
    assert inputs[-1] == pytest.approx(1.175), "nothing is clipped"
    assert inputs[0] == pytest.approx(-0.1)


def test_a_few_bright_pixels_on_black_are_scaled_by_minimum_and_maximum():
    image = np.zeros((100, 100), dtype=np.uint8)
    image[50, 50:60] = 200  # 0.1 % of the picture, both percentiles are 0
    inputs = prepare(image, InputSettings())
    assert inputs.max() == 1
    assert inputs.min() == 0


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("invert_bright", [False, True])
def test_a_constant_image_becomes_0(level, invert_bright):
    image = np.full((4, 5), level, dtype=np.uint8)
    assert (prepare(image, InputSettings(invert_bright=invert_bright)) == 0).all()


@pytest.mark.parametrize("level", [7, -1e16, 1e16, 1e20, -3e38, 3e38])
def test_a_constant_image_of_floats_of_any_size_becomes_0(level):
    assert (prepare(np.full((4, 5), level, np.float32), InputSettings()) == 0).all()


def test_bright_backgrounds_are_inverted_and_dark_ones_are_not():
    settings = InputSettings(normalize="range", invert_bright=True)
    bright = np.array([[255, 255, 255, 51]], dtype=np.uint8)
    assert prepare(bright, settings).ravel() == pytest.approx([0, 0, 0, 0.8])
    dark = 255 - bright
    assert prepare(dark, settings).ravel() == pytest.approx([0, 0, 0, 0.8])


def test_half_of_the_intensity_range_decides_what_is_bright():
    # 60 is dark on the scale of 0…255 but the brighter half of 20…70
    image = np.array([[20, 60, 60, 60, 70]], dtype=np.uint8)
    inverted = prepare(image, InputSettings(invert_bright=True)).ravel()
    kept = prepare(image, InputSettings(invert_bright=False)).ravel()
    assert inverted == pytest.approx(1 - kept, abs=1e-6)


def test_gray_is_the_luma_and_colours_keep_their_order():
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    inputs = prepare(image, InputSettings(channels=("gray", "blue", "red", "green"), normalize="range"))
    assert inputs[:, 0].ravel() == pytest.approx([0.299, 0.587, 0.114, 0, 0, 1, 1, 0, 0, 0, 1, 0])


def test_colours_of_one_image_are_scaled_alike():
    image = np.array([[[10, 10, 10], [110, 110, 110], [60, 110, 10]]], dtype=np.uint8)
    red, green, blue = prepare(image, InputSettings(channels=("red", "green", "blue")))[:, 0, 2]
    assert green - red == pytest.approx(red - blue, rel=1e-5)


def test_a_gray_image_gives_its_gray_for_every_colour():
    image = np.array([[3, 200], [90, 14]], dtype=np.uint8)
    gray, red, green, blue = prepare(image, InputSettings(channels=("gray", "red", "green", "blue")))
    for plane in (red, green, blue):
        np.testing.assert_array_equal(plane, gray)


def test_the_ramp_grows_from_0_at_the_top_to_1_at_the_bottom():
    image = np.full((3, 2), 51, dtype=np.uint8)
    ramp, product = prepare(image, InputSettings(channels=("ramp", "gray_ramp"), normalize="range"))
    assert ramp.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]
    assert product[:, 0] == pytest.approx([0, 0.1, 0.2])


def test_depth_is_scaled_by_1000():
    assert prepare(np.zeros((2, 2), np.uint8), InputSettings(channels=("depth",)), depth=306.0) == pytest.approx(
        np.full((1, 2, 2), 0.306)
    )


def test_mean_and_std_come_last():
    settings = InputSettings(channels=("gray", "ramp"), normalize="range", mean=0.5, std=0.25)
    assert prepare(np.array([[255]], dtype=np.uint8), settings).ravel() == pytest.approx([2, -2])


def test_asking_for_a_depth_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="this sample has none"):
        prepare(np.zeros((2, 2), np.uint8), InputSettings(channels=("depth",)))


@pytest.mark.parametrize("depth", [np.nan, np.inf, -np.inf])
def test_a_depth_that_is_not_finite_is_refused_by_name(depth):
    settings = InputSettings(channels=("depth",))
    with pytest.raises(ConfigError, match=f"contains depth, but this sample has {depth}; "):
        prepare(np.zeros((2, 2), np.uint8), settings, depth=depth)
    numbers = {"a": {"depth": 306.0}, "b": {"depth": depth}, "c": {}}
    with pytest.raises(DataError, match="here: 2 samples have no finite depth") as caught:
        refuse_missing_depths(settings, numbers, numbers, "here")
    assert caught.value.problems == ("sample 'b'", "sample 'c'")


@pytest.mark.parametrize(
    "image",
    [np.zeros((2, 2)), np.zeros((0, 3), np.uint8), np.zeros(3, np.uint8)],
    ids=["float64", "empty", "flat"],
)
def test_what_is_no_gray_or_rgb_image_is_refused(image):
    with pytest.raises(DataError, match="expected uint8"):
        prepare(image, InputSettings())
    with pytest.raises(DataError, match="expected uint8"):
        find_intensity_range(image, InputSettings())


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_range_is_the_type_s_own(dtype, high):
    assert find_intensity_range(np.array([[0, 1]], dtype), InputSettings(normalize="range")) == (0, high)


def test_floats_beyond_0_to_1_have_no_range():
    with pytest.raises(DataError, match=r"runs from 0 to 1\.5; expected 0 to 1, as input.normalize is range"):
        find_intensity_range(np.array([[0, 1.5]], np.float32), InputSettings(normalize="range"))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_narrow_band_far_from_0_becomes_0_to_1(dtype):
    image = np.linspace(33069, 36863, 2001).astype(dtype)[None]
    (inputs,) = prepare(image, InputSettings())
    assert inputs[0, 20] == pytest.approx(0, abs=1e-3)
    assert inputs[0, 1996] == pytest.approx(1, abs=1e-3)
    assert len(np.unique(inputs)) == len(np.unique(image))


def test_floats_have_no_least_distance_and_a_constant_becomes_0():
    tiny = np.linspace(0, 1e-6, 1001, dtype=np.float32)[None]
    assert prepare(tiny, InputSettings())[0, 0, 998] == pytest.approx(1, abs=1e-3)
    assert not prepare(np.full((3, 3), 0.7, np.float32), InputSettings()).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_numbered_channels_are_normalised_each_by_itself_in_the_order_of_the_config(dtype):
    ramp = np.arange(100).reshape(10, 10)
    image = np.dstack([ramp, np.full_like(ramp, 7), 100 + ramp[::-1], 2 * ramp, ramp.T]).astype(dtype)
    inputs = prepare(image, InputSettings(channels=("channel2", "ramp", "channel0")))
    alone = [prepare(image[..., k], InputSettings())[0] for k in (2, 0)]
    np.testing.assert_allclose(inputs[[0, 2]], alone, atol=1e-6)
    np.testing.assert_array_equal(prepare(image[..., 0], InputSettings(channels=("channel0",)))[0], alone[1])


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((4, 4, 2), ("gray",), "has 2 channels; choose with input.channels from channel0, channel1, or take one with"),
        ((4, 4, 2), ("channel0", "channel2"), "has 2 channels .channel0, channel1., but input.channels contains"),
        ((4, 4), ("channel1",), "has 1 channel .channel0., but input.channels contains channel1"),
    ],
)
def test_channels_that_an_image_does_not_have_are_refused_with_those_it_has(shape, channels, message):
    with pytest.raises(DataError, match=message):
        prepare(np.zeros(shape, np.uint8), InputSettings(channels=channels))


@pytest.mark.parametrize("channels", [("gray", "channel1"), ("channel",), ("channel0", "red")])
def test_channels_by_number_and_by_colour_are_not_mixed(channels):
    with pytest.raises(ConfigError, match="channel"):
        InputSettings(channels=channels)
