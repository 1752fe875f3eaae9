import math

import cv2
import numpy as np
import pytest

from kaggle_unet.data.augment import PRESETS, CachedSample, Preset, augment, stable_seed
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.types import Sample


@pytest.fixture
def preset(monkeypatch):
    """A preset of one element, in the place of `none`."""

    def put(crop_px=None, **element):
        monkeypatch.setitem(PRESETS, "none", Preset(**element))
        return AugmentationSettings(preset="none", crop_px=crop_px)

    return put


def draw(image, labels, ignore, settings, *, seed):
    """Draw a crop, its gray levels as they are."""
    cached = CachedSample.of(Sample("a", image, labels, ignore=ignore), InputSettings(normalize="range"))
    crop = augment(cached, settings, seed=seed)
    return crop.image, crop.labels.astype(np.int32), crop.ignore


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
def test_a_crop_has_its_shape_and_known_ids(preset, crop_px, corner):
    image, labels = corner
    settings = AugmentationSettings(preset=preset, crop_px=crop_px)
    shapes = {(40, 48), (48, 40)} if crop_px is None else {(crop_px, crop_px)}
    for seed in range(12):
        shown, ids, ignore = draw(image, labels, None, settings, seed=seed)
        assert shown.shape == ids.shape
        assert shown.shape in shapes
        assert (shown.dtype, ignore) == (np.uint8, None)
        assert set(np.unique(ids[ids <= 5])) <= {0, 2, 5}, "copied nuclei are above"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_gives_the_same_crop(preset, corner):
    settings = AugmentationSettings(preset=preset, crop_px=24)
    for seed in range(5):
        first, again = (draw(*corner, None, settings, seed=seed) for _ in range(2))
        assert (first[0] == again[0]).all()
        assert (first[1] == again[1]).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_colours_are_cut_like_grays(preset, corner):
    image, labels = corner
    settings = AugmentationSettings(preset=preset, crop_px=24)
    shown, ids, _ = draw(np.dstack([image] * 3), labels, None, settings, seed=3)
    assert shown.shape == (24, 24, 3)
    assert ids.shape == (24, 24)


@pytest.mark.parametrize("preset", ["light", "nuclei", "salt"])
def test_labels_follow_the_image(preset, corner):
    image, labels = corner
    settings = AugmentationSettings(preset=preset, crop_px=32)
    for seed in range(20):
        shown, ids, _ = draw(image, labels, None, settings, seed=seed)
        inside, outside = shown[ids > 0].astype(float), shown[ids == 0].astype(float)
        assert np.median(inside) > np.median(outside) + 40


def test_ignored_pixels_move_with_the_image(corner):
    image, labels = corner
    for seed in range(20):
        _, ids, ignore = draw(image, labels, labels == 5, AugmentationSettings(preset="nuclei"), seed=seed)
        assert ignore.dtype == bool
        assert (ignore == (ids == 5)).all()


def test_none_takes_an_image_as_it_is(corner):
    shown, ids, _ = draw(*corner, None, AugmentationSettings(preset="none"), seed=9)
    assert (shown == corner[0]).all()
    assert (ids == corner[1]).all()


def test_light_shows_a_square_from_all_eight_sides():
    labels = np.arange(9, dtype=np.int32).reshape(3, 3)
    settings = AugmentationSettings(preset="light")
    seen = {draw(shades(labels), labels, None, settings, seed=s)[1].tobytes() for s in range(100)}
    assert len(seen) == 8


def test_salt_never_turns_a_tile_upside_down():
    rows = np.arange(101, dtype=np.int32)[:, None].repeat(101, 1)
    columns = rows.T
    settings, downwards, leftwards = AugmentationSettings(preset="salt"), [], []
    for seed in range(40):
        downwards.append((np.diff(draw(shades(rows), rows, None, settings, seed=seed)[1], axis=0) >= 0).all())
        leftwards.append((np.diff(draw(shades(columns), columns, None, settings, seed=seed)[1]) <= 0).all())
    assert all(downwards)
    assert 8 < sum(leftwards) < 32


def test_the_first_place_s_salt_stays_upright_where_nothing_is_mirrored():
    rows = np.arange(101, dtype=np.int32)[:, None].repeat(101, 1)
    settings, downwards = AugmentationSettings(preset="salt_first_place"), []
    for seed in range(40):
        steps = np.diff(draw(shades(rows), rows, None, settings, seed=seed)[1].astype(int)[:, 50])
        downwards.append(steps[40:60].sum() > 0)
    assert sum(downwards) > 36


def test_salt_shows_at_least_four_fifths_of_a_tile_and_nothing_mirrored():
    columns = np.arange(100, dtype=np.int32)[None].repeat(100, 0)
    spans = []
    for seed in range(60):
        row = draw(shades(columns), columns, None, AugmentationSettings(preset="salt"), seed=seed)[1][50]
        assert (np.diff(row) >= 0).all() or (np.diff(row) <= 0).all()
        spans.append(abs(int(row[-1]) - int(row[0])) + 1)
    assert min(spans) >= 79
    assert min(spans) < 90
    assert spans.count(100) > 20


def test_nuclei_zooms_within_the_settings_scale():
    labels = disc(120, 15)
    settings = AugmentationSettings(preset="nuclei", crop_px=112, scale=(0.5, 2.0))
    areas = [(draw(shades(labels), labels, None, settings, seed=s)[1] > 0).sum() for s in range(80)]
    ratios = [math.sqrt(area / (labels > 0).sum()) for area in areas]
    assert 0.45 < min(ratios) < 0.7
    assert 1.4 < max(ratios) < 2.05
    assert sum(ratio == 1 for ratio in ratios) > 20


def test_bending_moves_pixels_and_keeps_labels_on_their_objects(preset):
    labels = np.indices((120, 120)).sum(0) // 20 % 2 + 2 * (np.indices((120, 120))[0] // 20 % 2)
    settings = preset(p_bend=1.0, bend_px=(4.0, 4.0))
    image = (labels * 60).astype(np.uint8)
    for seed in range(5):
        shown, ids, _ = draw(image, labels.astype(np.int32), None, settings, seed=seed)
        assert (ids != labels).mean() > 0.05
        assert set(np.unique(ids)) == {0, 1, 2, 3}, "the nearest pixel's id, none between two"
        far = cv2.dilate(image, np.ones((3, 3))) == cv2.erode(image, np.ones((3, 3)))  # from any edge
        moved = draw((far * 255).astype(np.uint8), labels.astype(np.int32), None, settings, seed=seed)[0] == 255
        assert (shown[moved] == ids[moved] * 60).all()


def test_a_shift_goes_beyond_the_image_s_edge(preset):
    columns = np.arange(100, dtype=np.int32)[None].repeat(100, 0)
    settings = preset(p_warp=1.0, zoom=(1.0, 1.0), max_shift=0.2)
    firsts = []
    for seed in range(40):
        row = draw(shades(columns), columns, None, settings, seed=seed)[1][50].astype(int)
        away = int(abs(row - np.arange(100))[20:80].max())
        assert away <= 20
        firsts.append(away)
    assert max(firsts) > 15
    assert len(set(firsts)) > 10


def test_copied_nuclei_are_in_the_image_and_in_the_labels(preset):
    labels = disc(100, 8)
    settings = preset(p_paste=1.0, max_pasted=4)
    counts = []
    for seed in range(20):
        shown, ids, _ = draw(shades(labels), labels, None, settings, seed=seed)
        counts.append(len(np.unique(ids)) - 1)
        assert ((shown > 110) == (ids > 0)).all()
        areas = np.bincount(ids.ravel())[1:]
        assert set(areas) <= {0, (labels > 0).sum()}
    assert set(counts) == {2, 3, 4, 5}


def test_nuclei_are_copied_as_often_as_asked(preset):
    labels = disc(100, 8)
    settings = preset(p_paste=0.3, max_pasted=1)
    counts = [len(np.unique(draw(shades(labels), labels, None, settings, seed=seed)[1])) - 1 for seed in range(200)]
    assert 40 < counts.count(2) < 80


def test_nuclei_that_must_not_count_in_part_are_not_copied(preset):
    labels = disc(100, 8)
    ignore = np.zeros(labels.shape, bool)
    ignore[50, 50] = True
    for seed in range(5):
        _, ids, _ = draw(shades(labels), labels, ignore, preset(p_paste=1.0, max_pasted=4), seed=seed)
        assert (ids == labels).all()


def test_a_crop_finds_objects_as_often_as_asked():
    labels = np.zeros((400, 400), np.int32)
    labels[290:294, 110:114] = 7
    shares = []
    for p in (0.0, 0.5, 1.0):
        settings = AugmentationSettings(preset="nuclei", crop_px=64, crop_finds_objects=p)
        shares.append(np.mean([draw(shades(labels), labels, None, settings, seed=s)[1].any() for s in range(200)]))
    assert shares[0] < 0.1
    assert 0.4 < shares[1] < 0.65
    assert shares[2] > 0.99


def test_every_object_is_found_as_often_and_in_the_inner_half():
    labels = np.zeros((200, 200), np.int32)
    for i, (y, x) in enumerate([(60, 60), (60, 140), (140, 100)], start=1):
        labels[y : y + 2, x : x + 2] = i
    settings = AugmentationSettings(preset="none", crop_px=40, crop_finds_objects=1.0)
    found = []
    for seed in range(150):
        ids = draw(shades(labels), labels, None, settings, seed=seed)[1]
        (id_,) = np.unique(ids[ids > 0])
        found.append(int(id_))
        assert (ids[9:31, 9:31] > 0).sum() == 4
    assert min(found.count(i) for i in (1, 2, 3)) > 30


def test_an_image_without_objects_is_cut_anywhere():
    settings = AugmentationSettings(preset="none", crop_px=16, crop_finds_objects=1.0)
    image, labels = np.arange(40 * 40, dtype=np.int32).reshape(40, 40) % 251, np.zeros((40, 40), np.int32)
    seen = {draw(image.astype(np.uint8), labels, None, settings, seed=s)[0].tobytes() for s in range(20)}
    assert len(seen) > 15


@pytest.mark.parametrize("preset", PRESETS)
def test_an_image_without_instances_stays_without(preset):
    image, labels = np.full((20, 20), 90, np.uint8), np.zeros((20, 20), np.int32)
    assert not draw(image, labels, None, AugmentationSettings(preset=preset, crop_px=16), seed=1)[1].any()


def test_a_seed_is_the_same_on_every_machine_and_in_every_process():
    assert stable_seed(0, 1, 2) == 0x9783A67F72243431
    assert (
        len({stable_seed(seed, epoch, index) for seed in range(3) for epoch in range(20) for index in range(50)})
        == 3000
    )


FIVE = InputSettings(channels=tuple(f"channel{k}" for k in range(5)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("preset", PRESETS)
def test_other_types_are_augmented_as_8_bits_are_and_keep_their_gray_levels(preset, dtype):
    labels = disc(48, 12)
    noise = np.random.default_rng(0).integers(0, 4000, (48, 48))
    image = (33069 + noise).astype(dtype)  # a narrow band far from 0
    cached = CachedSample.of(Sample("a", image, labels), InputSettings())
    settings = AugmentationSettings(preset=preset, crop_px=32)
    crops = [augment(cached, settings, seed=seed) for seed in range(12)]
    assert {(crop.image.dtype, crop.image.shape) for crop in crops} == {(np.dtype(dtype), (32, 32))}
    low, high = cached.intensity_range
    shown = np.stack([(crop.image.astype(float) - low) / (high - low) for crop in crops])
    assert -1 < shown.min() < 0.2
    assert 0.8 < shown.max() < 2.2
    assert np.median([len(np.unique(crop.image)) for crop in crops]) > 700, "as many levels as pixels, nearly"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("preset", PRESETS)
def test_channels_stay_apart_and_change_in_their_own_ranges(preset, dtype):
    labels = disc(48, 12)
    drawn = np.random.default_rng(1).integers(0, 20, (48, 48, 5)) + 40 * np.arange(5)
    cached = CachedSample.of(Sample("a", drawn.astype(dtype), labels), FIVE)
    assert [part.shape for part in cached.intensity_range] == [(5,), (5,)]
    for seed in range(12):
        crop = augment(cached, AugmentationSettings(preset=preset, crop_px=32), seed=seed)
        assert (crop.image.dtype, crop.image.shape) == (np.dtype(dtype), (32, 32, 5))
        means = crop.image.mean(axis=(0, 1))
        np.testing.assert_allclose(means, 9.5 + 40 * np.arange(5), atol=12)
