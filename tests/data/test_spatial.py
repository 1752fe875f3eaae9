import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.data.spatial import SpatialTransform, cut, draw_knots, mirror_indices, place

GRID = np.arange(24, dtype=np.uint8).reshape(4, 6)
angles = st.floats(-math.pi, math.pi)
zooms = st.floats(0.5, 2.0)


@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 30), zooms, angles)
def test_a_crop_lies_inside_an_image_that_is_large_enough(seed, height, width, zoom, angle):
    shape = (90, 99)  # the largest crop's diagonal, at half the zoom, is 85
    centre_y, centre_x = place(np.random.default_rng(seed), shape, (height, width), zoom=zoom, angle=angle)
    for dy, dx in itertools.product((-height / 2, height / 2), (-width / 2, width / 2)):
        y = centre_y + (dy * math.cos(angle) + dx * math.sin(angle)) / zoom
        x = centre_x + (dx * math.cos(angle) - dy * math.sin(angle)) / zoom
        assert -1e-9 <= y <= shape[0] + 1e-9
        assert -1e-9 <= x <= shape[1] + 1e-9


def test_every_place_of_an_exact_crop_is_drawn():
    centres = {place(np.random.default_rng(seed), (4, 6), (4, 4)) for seed in range(40)}
    assert centres == {(2.0, 2.0), (2.0, 3.0), (2.0, 4.0)}


@pytest.mark.parametrize(("side", "centre"), [(4, 2.0), (5, 2.5)])
def test_an_exact_crop_is_a_copy_of_pixels(side, centre):
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert (
        cut(image, SpatialTransform((side, side), (centre + 1, centre + 3))) == image[1 : 1 + side, 3 : 3 + side]
    ).all()


def test_a_crop_can_be_written_to_without_changing_the_image():
    image = GRID.copy()
    cut(image, SpatialTransform((4, 6), (2, 3)))[:] = 0
    assert (image == GRID).all()


def test_a_crop_larger_than_the_image_mirrors_it_without_repeating_the_edge():
    crop = cut(np.array([[1, 2], [3, 4]], np.uint8), SpatialTransform((4, 3), (1, 0.5)))
    assert crop.tolist() == [[4, 3, 4], [2, 1, 2], [4, 3, 4], [2, 1, 2]]


@pytest.mark.parametrize("zoom", [1.0, 1.3])
def test_a_single_pixel_becomes_a_constant_crop(zoom):
    assert (cut(np.full((1, 1), 7, np.uint8), SpatialTransform((5, 4), (0.5, 0.5), zoom=zoom)) == 7).all()


@given(st.integers(2, 6), st.integers(0, 15), st.integers(0, 15))
def test_mirrored_indices_are_those_of_numpy(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    assert (mirror_indices(-before, size + before + after, size) == expected).all()


def test_the_eight_symmetries_are_eight_and_exact():
    crops = [
        cut(GRID, SpatialTransform((4, 6), (2, 3), turns=turns, mirrored=m))
        for turns in range(4)
        for m in (False, True)
    ]
    expected = [np.fliplr(np.rot90(GRID, k)) if m else np.rot90(GRID, k) for k in range(4) for m in (False, True)]
    assert len({crop.tobytes() + bytes(crop.shape) for crop in crops}) == 8
    assert all((crop == want).all() for crop, want in zip(crops, expected, strict=True))


def test_a_zoom_of_two_doubles_the_middle():
    crop = cut(GRID, SpatialTransform((4, 4), (2, 3), zoom=2), nearest=True)
    assert crop.tolist() == [[8, 8, 9, 9], [8, 8, 9, 9], [14, 14, 15, 15], [14, 14, 15, 15]]


@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("nearest", [True, False])
def test_a_quarter_turn_by_angle_moves_every_pixel_onto_another(side, nearest):
    image = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    crop = cut(image, SpatialTransform((side, side), (side / 2, side / 2), angle=math.pi / 2), nearest=nearest)
    assert (crop == np.rot90(image)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_nearest_makes_no_new_ids(dtype):
    labels = np.array([[0, 9], [200, 0]], dtype).repeat(8, 0).repeat(8, 1)
    crop = cut(labels, SpatialTransform((12, 12), (7.3, 8.1), zoom=1.37, angle=0.6), nearest=True)
    assert crop.dtype == dtype
    assert set(np.unique(crop)) == {0, 9, 200}


@given(zooms, angles, st.floats(10, 22), st.floats(10, 22))
def test_image_and_labels_stay_aligned(zoom, angle, centre_y, centre_x):
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 12:20] = 3
    transform = SpatialTransform((24, 20), (centre_y, centre_x), zoom=zoom, angle=angle, turns=1, mirrored=True)
    image, moved = cut((labels > 0).astype(np.uint8) * 255, transform), cut(labels, transform, nearest=True)
    assert image.shape == moved.shape == (20, 24)
    assert (moved[image > 200] == 3).all()
    assert (moved[image < 55] == 0).all()


@given(
    st.integers(0, 99), st.floats(0, 89.5), st.floats(0, 98.5), st.sampled_from([(1.0, 0.0), (1.3, 0.0), (1.0, 0.5)])
)
def test_a_focus_lies_in_a_crop_s_inner_half_unless_the_image_ends(seed, y, x, warp):
    zoom, angle = warp
    shape, image_shape = (20, 16), (90, 99)
    centre = place(np.random.default_rng(seed), image_shape, shape, zoom=zoom, angle=angle, focus_yx=(y, x))
    free = place(np.random.default_rng(seed), image_shape, shape, zoom=zoom, angle=angle)
    cosine, sine = math.cos(angle), math.sin(angle)
    extents = (20 * cosine + 16 * sine) / zoom, (16 * cosine + 20 * sine) / zoom
    for middle, focus, extent, size, other in zip(centre, (y, x), extents, image_shape, free, strict=True):
        assert extent / 2 - 1e-6 <= middle <= size - extent / 2 + 1e-6
        assert abs(middle - focus) <= extent / 2 + 0.5
        if extent <= focus <= size - extent:
            assert abs(middle - focus) <= extent / 4 + 0.5
        assert zoom != 1 or angle or (middle - other) % 1 == pytest.approx(0, abs=1e-9), "still on the image's pixels"


def test_knots_that_do_not_move_change_nothing():
    knots = np.zeros((2, 2, 2), np.float32)
    for nearest in (True, False):
        assert (cut(GRID, SpatialTransform((4, 6), (2, 3), knots=knots), nearest=nearest) == GRID).all()


def test_knots_that_all_move_alike_shift_the_crop():
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    knots = np.full((2, 2, 2), (3, -2), np.float32)  # 3 to the right, 2 up
    assert (cut(image, SpatialTransform((8, 8), (10, 10), knots=knots), nearest=True) == image[4:12, 9:17]).all()


def test_a_bend_comes_before_zoom_and_turns():
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    knots = np.full((2, 2, 2), (2, 0), np.float32)
    transform = SpatialTransform((6, 6), (10, 10), angle=math.pi / 2, turns=1, mirrored=True, knots=knots)
    plain = SpatialTransform((6, 6), (12, 10), angle=math.pi / 2, turns=1, mirrored=True)
    assert (cut(image, transform, nearest=True) == cut(image, plain, nearest=True)).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_strongest_bend_folds_nothing_over(seed):
    shape = (192, 160)
    knots = draw_knots(np.random.default_rng(seed), shape, 5.0)
    x, y = SpatialTransform(shape, (96, 80), knots=knots).maps
    assert abs(knots).max() <= 10
    area = np.diff(x, axis=1)[:-1] * np.diff(y, axis=0)[:, :-1] - np.diff(x, axis=0)[:, :-1] * np.diff(y, axis=1)[:-1]
    assert area.min() > 0
    assert area.max() > 1.2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_a_bend_makes_no_new_ids_and_keeps_image_and_labels_aligned(dtype):
    labels = np.zeros((64, 64), dtype)
    labels[10:30, 12:40], labels[35:60, 20:50] = 9, 200
    transform = SpatialTransform(
        (48, 48), (32, 30), zoom=1.2, angle=0.4, knots=draw_knots(np.random.default_rng(0), (48, 48), 4.0)
    )
    moved, image = cut(labels, transform, nearest=True), cut((labels > 0).astype(np.uint8) * 255, transform)
    assert moved.dtype == dtype
    assert set(np.unique(moved)) == {0, 9, 200}
    assert (moved[image > 200] > 0).all()
    assert (moved[image < 55] == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("zoom", [1.0, 1.3])
def test_many_channels_are_cut_as_each_alone(dtype, zoom):
    image = np.random.default_rng(0).integers(0, 200, (20, 30, 9)).astype(dtype)
    transform = SpatialTransform((16, 16), (9.0, 12.0), zoom=zoom, turns=1, mirrored=True)
    alone = [cut(np.ascontiguousarray(image[..., k]), transform) for k in range(9)]
    np.testing.assert_array_equal(cut(image, transform), np.dstack(alone))


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("centre_x", [2, 20_000, 39_998])
def test_a_bent_crop_of_a_very_long_image_is_that_of_the_part_around_it(centre_x, nearest):
    image = np.random.default_rng(0).integers(0, 256, (48, 40_000, 3), dtype=np.uint8)
    knots = draw_knots(np.random.default_rng(1), (32, 32), 3.0)
    start = min(max(centre_x - 100, 0), 39_800)
    long, part = (
        SpatialTransform((32, 32), (3, x), zoom=0.8, angle=0.4, knots=knots) for x in (centre_x, centre_x - start)
    )
    crops = cut(image, long, nearest=nearest), cut(image[:, start : start + 200], part, nearest=nearest)
    assert (np.abs(np.subtract(*crops, dtype=int)) > 8).mean() < 0.02  # the map has a part in 250 of a pixel there
