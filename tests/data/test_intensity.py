import os

import numpy as np
import pytest

from kaggle_unet.data.augment import PRESETS
from kaggle_unet.data.intensity import (
    UNCHANGED,
    IntensityPreset,
    Levels,
    apply_levels,
    filter_image,
    stretch_levels,
)

RNG = np.random.default_rng(0)
GRAY = RNG.integers(5, 32, (24, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (24, 30, 3), dtype=np.uint8)


def change_intensity(image, preset, rng, *, intensity_range=(0.0, 255.0)):
    """All that happens to the values of an image, in a worker."""
    image, intensity_range, levels = filter_image(image, preset, rng, intensity_range)
    return apply_levels(image, levels, rng, intensity_range), intensity_range


def change_levels(image, intensity_range, **levels):
    return apply_levels(image, Levels(**levels), np.random.default_rng(0), intensity_range)


def test_an_empty_preset_changes_nothing():
    assert change_intensity(GRAY, UNCHANGED, np.random.default_rng(0))[0] is GRAY


def test_levels_change_relative_to_the_image_s_own_black():
    image = np.array([[10, 30, 50]], np.uint8)
    # x is 0, 0.5, 1; doubled less a quarter that is -0.25, 0.75, 1.75 of a range of 40 above 10
    assert change_levels(image, (10, 50), contrast=2, brightness=-0.25).tolist() == [[0, 40, 80]]


def test_levels_of_an_inverted_image_change_the_other_way():
    image = np.array([[100, 150, 200]], np.uint8)
    # x is 1, 0.5, 0; a tenth more of each is 10 levels darker
    assert change_levels(image, (200, 100), brightness=0.1).tolist() == [[90, 140, 190]]


def test_levels_below_black_survive_a_gamma():
    image = np.array([[60, 140]], np.uint8)
    # x is -0.4 and 0.4 of a range of 100 about 100; squared with its sign ±0.16
    assert change_levels(image, (100, 200), gamma=2).tolist() == [[84, 116]]


def test_noise_is_as_strong_as_asked_and_the_same_in_all_colours():
    image = np.full((200, 200, 3), 128, np.uint8)
    difference = change_levels(image, (0, 255), noise=8 / 255).astype(float) - 128
    assert difference.std() == pytest.approx(8, rel=0.02)
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert (difference == difference[..., :1]).all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_dark_image_stays_dark(name):
    for seed in range(30):
        changed, (low, high) = change_intensity(
            GRAY, PRESETS[name].intensity, np.random.default_rng(seed), intensity_range=(5, 31)
        )
        shown = (changed.astype(float) - low) / (high - low)
        assert -1 < shown.min() <= shown.max() < 2.2
        assert shown.std() > 0.04


@pytest.mark.parametrize("image", [GRAY, RGB], ids=["gray", "colour"])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "none"])
def test_the_same_seed_does_the_same_and_others_do_others(name, image):
    intensity = PRESETS[name].intensity
    first, again = (
        [change_intensity(image, intensity, np.random.default_rng(s))[0] for s in range(20)] for _ in range(2)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all(changed.shape == image.shape for changed in first)
    assert all(changed.dtype == np.uint8 for changed in first)
    assert len({changed.tobytes() for changed in first}) > 4


def test_colours_change_in_colour_images_only():
    for intensity in (IntensityPreset(p_hue=1.0), IntensityPreset(p_shuffle=1.0), IntensityPreset(p_gray=1.0)):
        seeds = [np.random.default_rng(seed) for seed in range(5)]
        assert all((change_intensity(GRAY, intensity, rng)[0] == GRAY).all() for rng in seeds)
        assert any((change_intensity(RGB, intensity, rng)[0] != RGB).any() for rng in seeds)


def test_a_shuffle_only_orders_the_channels_anew():
    orders = set()
    for seed in range(40):
        changed, _ = change_intensity(RGB, IntensityPreset(p_shuffle=1.0), np.random.default_rng(seed))
        found = [[c for c in range(3) if (changed[..., k] == RGB[..., c]).all()] for k in range(3)]
        orders.add(tuple(c for (c,) in found))
    assert len(orders) == 6


def test_a_colour_image_without_colours_has_three_equal_channels():
    changed, _ = change_intensity(RGB, IntensityPreset(p_gray=1.0), np.random.default_rng(0))
    assert (changed == changed[..., :1]).all()
    assert changed.std() > 10


def test_another_hue_keeps_the_brightest_channel_as_bright():
    changed, _ = change_intensity(RGB, IntensityPreset(p_hue=1.0), np.random.default_rng(0))
    assert abs(changed.max(-1).astype(int) - RGB.max(-1)).max() <= 1


@pytest.mark.parametrize("levels", [(10.0, 20.0), (20.0, 10.0)])
def test_stretched_levels_show_the_same_in_more_gray_levels(levels):
    image = np.arange(9, 23, dtype=np.uint8)[None]
    stretched, (low, high) = stretch_levels(image, levels)
    assert len(np.unique(stretched)) == 14
    before = (image - levels[0]) / (levels[1] - levels[0])
    assert (stretched - low) / (high - low) == pytest.approx(before, abs=0.51 / abs(high - low))
    assert (np.diff(stretched.astype(int)) > 10).all()


def test_a_stretch_cuts_nothing_off_and_leaves_wide_images_alone():
    for image in (np.array([[0, 10, 30, 200]], np.uint8), np.array([[0, 10, 30, 40]], np.uint8)):
        stretched, (low, high) = stretch_levels(image, (10.0, 30.0))
        assert high - low > 20
        assert (np.diff(stretched.astype(int)) > 0).all()
        assert (stretched - low) / (high - low) == pytest.approx((image - 10.0) / 20, abs=0.51 / (high - low))
    wide = np.array([[0, 255]], np.uint8)
    assert stretch_levels(wide, (3.0, 230.0)) == (wide, (3.0, 230.0))


def test_only_gray_images_are_stretched():
    assert change_intensity(
        GRAY, IntensityPreset(stretches=True), np.random.default_rng(0), intensity_range=(5.0, 31.0)
    )[1] == (
        32,
        224,
    )
    dark = RGB // 8
    changed, levels = change_intensity(
        dark, IntensityPreset(stretches=True), np.random.default_rng(0), intensity_range=(5, 31)
    )
    assert changed is dark
    assert levels == (5, 31)


def test_inversion_stays_within_the_image_s_own_levels():
    image = np.array([[10, 20, 50]], np.uint8)
    changed, levels = change_intensity(
        image, IntensityPreset(p_invert=1.0), np.random.default_rng(0), intensity_range=(10, 50)
    )
    assert changed.tolist() == [[50, 40, 10]]
    assert levels == (10, 50)


@pytest.mark.parametrize("image", [GRAY * 8, RGB], ids=["gray", "colour"])
def test_local_contrast_shows_a_shallow_step_better(image):
    step = np.full((64, 64), 100, np.uint8)
    step[:, 32:] = 110
    step = step if image.ndim == 2 else np.dstack([step] * 3)
    changes = [
        change_intensity(step, IntensityPreset(p_local=1.0), np.random.default_rng(seed))[0].astype(int)
        for seed in range(30)
    ]
    assert sum((changed != step).any() for changed in changes) > 25
    assert max(changed.max() - changed.min() for changed in changes) > 12


def test_local_contrast_is_left_alone_where_the_intensity_range_is_narrow():
    for seed in range(10):
        changed, _ = change_intensity(
            GRAY, IntensityPreset(p_local=1.0), np.random.default_rng(seed), intensity_range=(5, 31)
        )
        assert changed is GRAY


@pytest.mark.parametrize("intensity", [IntensityPreset(p_soften=1.0), IntensityPreset(p_blur=1.0)])
def test_a_blur_leaves_less_noise(intensity):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    stds = [change_intensity(noise, intensity, np.random.default_rng(seed))[0].std() for seed in range(20)]
    assert max(stds) < noise.std() * 0.97
    assert min(stds) < noise.std() * 0.6


def test_the_network_is_not_asked_for_a_newer_albumentations():
    change_intensity(GRAY, IntensityPreset(p_blur=1.0), np.random.default_rng(0))
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


@pytest.mark.parametrize("shape", [(1, 30, 3), (30, 1, 3), (1, 1, 3), (2, 2, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thin_images_keep_their_shape(shape, dtype):
    image = RNG.integers(0, 256, shape).astype(dtype)
    for seed in range(20):
        for name in ("first_place", "nuclei"):
            found, _ = change_intensity(image, PRESETS[name].intensity, np.random.default_rng(seed))
            assert found.shape == shape
