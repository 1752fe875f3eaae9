import math

import cv2
import numpy as np
import pytest

from kaggle_unet.data.augment import PRESETS, augment, stable_seed
from kaggle_unet.data.settings import AugmentationSettings


def disc(side, radius):
    labels = np.zeros((side, side), np.int32)
    cv2.circle(labels, (side // 2, side // 2), radius, 1, -1)
    return labels


def shades(labels):
    return np.where(labels > 0, 180, 40).astype(np.uint8)


@pytest.fixture
def corner():
    """A sample that looks different from every side: an L of id 2, a dot of id 5."""
    labels = np.zeros((40, 48), np.int32)
    labels[4:30, 6:12] = labels[24:30, 6:24] = 2
    labels[8:14, 30:36] = 5
    return shades(labels), labels


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("crop_px", [None, 16, 64])
def test_a_view_has_the_crop_s_shape_and_known_ids(preset, crop_px, corner):
    image, labels = corner
    settings = AugmentationSettings(preset=preset, crop_px=crop_px)
    shapes = {(40, 48), (48, 40)} if crop_px is None else {(crop_px, crop_px)}
    for seed in range(12):
        view, ids, ignore = augment(image, labels, None, settings, seed=seed)
        assert view.shape == ids.shape
        assert view.shape in shapes
        assert (view.dtype, ids.dtype, ignore) == (np.uint8, np.int32, None)
        assert set(np.unique(ids)) <= {0, 2, 5}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_gives_the_same_view(preset, corner):
    settings = AugmentationSettings(preset=preset, crop_px=24)
    for seed in range(5):
        first, again = (augment(*corner, None, settings, seed=seed) for _ in range(2))
        assert (first[0] == again[0]).all()
        assert (first[1] == again[1]).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_colours_are_cut_like_grays(preset, corner):
    image, labels = corner
    view, ids, _ = augment(
        np.dstack([image] * 3), labels, None, AugmentationSettings(preset=preset, crop_px=24), seed=3
    )
    assert view.shape == (24, 24, 3)
    assert ids.shape == (24, 24)


@pytest.mark.parametrize("preset", ["light", "nuclei", "salt"])
def test_labels_follow_the_image(preset, corner):
    image, labels = corner
    settings = AugmentationSettings(preset=preset, crop_px=32)
    for seed in range(20):
        view, ids, _ = augment(image, labels, None, settings, seed=seed)
        inside, outside = view[ids > 0].astype(float), view[ids == 0].astype(float)
        assert np.median(inside) > np.median(outside) + 40


def test_ignored_pixels_move_with_the_image(corner):
    image, labels = corner
    for seed in range(20):
        _, ids, ignore = augment(image, labels, labels == 5, AugmentationSettings(preset="nuclei"), seed=seed)
        assert ignore.dtype == bool
        assert (ignore == (ids == 5)).all()


def test_none_takes_an_image_as_it_is(corner):
    view, ids, _ = augment(*corner, None, AugmentationSettings(preset="none"), seed=9)
    assert (view == corner[0]).all()
    assert (ids == corner[1]).all()


def test_light_shows_a_square_from_all_eight_sides():
    labels = np.arange(9, dtype=np.int32).reshape(3, 3)
    settings = AugmentationSettings(preset="light")
    seen = {augment(shades(labels), labels, None, settings, seed=s)[1].tobytes() for s in range(100)}
    assert len(seen) == 8


def test_salt_never_turns_a_tile_upside_down():
    rows = np.arange(101, dtype=np.int32)[:, None].repeat(101, 1)
    columns = rows.T
    settings, downwards, leftwards = AugmentationSettings(preset="salt"), [], []
    for seed in range(40):
        downwards.append((np.diff(augment(shades(rows), rows, None, settings, seed=seed)[1], axis=0) >= 0).all())
        leftwards.append((np.diff(augment(shades(columns), columns, None, settings, seed=seed)[1]) <= 0).all())
    assert all(downwards)
    assert 8 < sum(leftwards) < 32


def test_salt_shows_at_least_four_fifths_of_a_tile_and_nothing_mirrored():
    columns = np.arange(100, dtype=np.int32)[None].repeat(100, 0)
    spans = []
    for seed in range(60):
        row = augment(shades(columns), columns, None, AugmentationSettings(preset="salt"), seed=seed)[1][50]
        assert (np.diff(row) >= 0).all() or (np.diff(row) <= 0).all()
        spans.append(abs(int(row[-1]) - int(row[0])) + 1)
    assert min(spans) >= 79
    assert min(spans) < 90
    assert spans.count(100) > 20


def test_nuclei_zooms_within_the_settings_scale():
    labels = disc(120, 15)
    settings = AugmentationSettings(preset="nuclei", crop_px=112, scale=(0.5, 2.0))
    areas = [(augment(shades(labels), labels, None, settings, seed=s)[1] > 0).sum() for s in range(80)]
    ratios = [math.sqrt(area / (labels > 0).sum()) for area in areas]
    assert 0.45 < min(ratios) < 0.7
    assert 1.4 < max(ratios) < 2.05
    assert sum(ratio == 1 for ratio in ratios) > 20


@pytest.mark.parametrize("preset", PRESETS)
def test_an_image_without_instances_stays_without(preset):
    image, labels = np.full((20, 20), 90, np.uint8), np.zeros((20, 20), np.int32)
    assert not augment(image, labels, None, AugmentationSettings(preset=preset, crop_px=16), seed=1)[1].any()


def test_a_seed_is_the_same_on_every_machine_and_in_every_process():
    assert stable_seed(0, 1, 2) == 0x9783A67F72243431
    assert (
        len({stable_seed(seed, epoch, index) for seed in range(3) for epoch in range(20) for index in range(50)})
        == 3000
    )
