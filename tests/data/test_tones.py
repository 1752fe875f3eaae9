import os

import numpy as np
import pytest

from kaggle_unet.data.augment import PRESETS
from kaggle_unet.data.tones import UNCHANGED, Tones, add_noise, bend_levels, change_tones

RNG = np.random.default_rng(0)
GRAY = RNG.integers(5, 32, (24, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (24, 30, 3), dtype=np.uint8)


def test_no_tones_are_no_change():
    assert change_tones(GRAY, UNCHANGED, np.random.default_rng(0)) is GRAY


def test_levels_bend_about_the_image_s_own_black():
    image = np.array([[10, 30, 50]], np.uint8)
    # x is 0, 0.5, 1; doubled less a quarter that is -0.25, 0.75, 1.75 of a range of 40 above 10
    assert bend_levels(image, contrast=2, brightness=-0.25, gamma=1, levels=(10, 50)).tolist() == [[0, 40, 80]]


def test_levels_of_an_inverted_image_bend_the_other_way():
    image = np.array([[100, 150, 200]], np.uint8)
    # x is 1, 0.5, 0; a tenth more of each is 10 levels darker
    assert bend_levels(image, contrast=1, brightness=0.1, gamma=1, levels=(200, 100)).tolist() == [[90, 140, 190]]


def test_levels_below_black_survive_a_gamma():
    image = np.array([[60, 140]], np.uint8)
    # x is -0.4 and 0.4 of a range of 100 about 100; squared with its sign ±0.16
    assert bend_levels(image, contrast=1, brightness=0, gamma=2, levels=(100, 200)).tolist() == [[84, 116]]


def test_noise_is_as_strong_as_asked_and_the_same_in_all_colours():
    image = np.full((200, 200, 3), 128, np.uint8)
    difference = add_noise(image, np.random.default_rng(0), 8.0).astype(float) - 128
    assert difference.std() == pytest.approx(8, rel=0.02)
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert (difference == difference[..., :1]).all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_dark_image_stays_dark(name):
    for seed in range(30):
        changed = change_tones(GRAY, PRESETS[name].tones, np.random.default_rng(seed), levels=(5, 31))
        assert changed.max() < 31 * 2
        assert changed.std() > 1


@pytest.mark.parametrize("image", [GRAY, RGB], ids=["gray", "colour"])
@pytest.mark.parametrize("name", ["light", "nuclei", "salt"])
def test_the_same_seed_does_the_same_and_others_do_others(name, image):
    tones = PRESETS[name].tones
    first, again = ([change_tones(image, tones, np.random.default_rng(s)) for s in range(20)] for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all(changed.shape == image.shape for changed in first)
    assert all(changed.dtype == np.uint8 for changed in first)
    assert len({changed.tobytes() for changed in first}) > 4


def test_colours_change_in_colour_images_only():
    tones = Tones(p_colour=1.0)
    assert (change_tones(GRAY, tones, np.random.default_rng(0)) == GRAY).all()
    assert (change_tones(RGB, tones, np.random.default_rng(0)) != RGB).any()


def test_the_network_is_not_asked_for_a_newer_albumentations():
    change_tones(GRAY, Tones(p_blur=1.0), np.random.default_rng(0))
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
