import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.data.views import View, cut, mirror_indices, place

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
    assert (cut(image, View((side, side), (centre + 1, centre + 3))) == image[1 : 1 + side, 3 : 3 + side]).all()


def test_a_crop_can_be_written_to_without_changing_the_image():
    image = GRID.copy()
    cut(image, View((4, 6), (2, 3)))[:] = 0
    assert (image == GRID).all()


def test_a_crop_larger_than_the_image_mirrors_it_without_repeating_the_edge():
    crop = cut(np.array([[1, 2], [3, 4]], np.uint8), View((4, 3), (1, 0.5)))
    assert crop.tolist() == [[4, 3, 4], [2, 1, 2], [4, 3, 4], [2, 1, 2]]


@pytest.mark.parametrize("zoom", [1.0, 1.3])
def test_a_single_pixel_becomes_a_constant_crop(zoom):
    assert (cut(np.full((1, 1), 7, np.uint8), View((5, 4), (0.5, 0.5), zoom=zoom)) == 7).all()


@given(st.integers(2, 6), st.integers(0, 15), st.integers(0, 15))
def test_mirrored_indices_are_those_of_numpy(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    assert (mirror_indices(-before, size + before + after, size) == expected).all()


def test_the_eight_symmetries_are_eight_and_exact():
    views = [cut(GRID, View((4, 6), (2, 3), turns=turns, mirrored=m)) for turns in range(4) for m in (False, True)]
    expected = [np.fliplr(np.rot90(GRID, k)) if m else np.rot90(GRID, k) for k in range(4) for m in (False, True)]
    assert len({view.tobytes() + bytes(view.shape) for view in views}) == 8
    assert all((view == want).all() for view, want in zip(views, expected, strict=True))


def test_a_zoom_of_two_doubles_the_middle():
    crop = cut(GRID, View((4, 4), (2, 3), zoom=2), nearest=True)
    assert crop.tolist() == [[8, 8, 9, 9], [8, 8, 9, 9], [14, 14, 15, 15], [14, 14, 15, 15]]


@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("nearest", [True, False])
def test_a_quarter_turn_by_angle_moves_every_pixel_onto_another(side, nearest):
    image = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    crop = cut(image, View((side, side), (side / 2, side / 2), angle=math.pi / 2), nearest=nearest)
    assert (crop == np.rot90(image)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_nearest_makes_no_new_ids(dtype):
    labels = np.array([[0, 9], [200, 0]], dtype).repeat(8, 0).repeat(8, 1)
    crop = cut(labels, View((12, 12), (7.3, 8.1), zoom=1.37, angle=0.6), nearest=True)
    assert crop.dtype == dtype
    assert set(np.unique(crop)) == {0, 9, 200}


@given(zooms, angles, st.floats(10, 22), st.floats(10, 22))
def test_image_and_labels_stay_aligned(zoom, angle, centre_y, centre_x):
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 12:20] = 3
    view = View((24, 20), (centre_y, centre_x), zoom=zoom, angle=angle, turns=1, mirrored=True)
    image, moved = cut((labels > 0).astype(np.uint8) * 255, view), cut(labels, view, nearest=True)
    assert image.shape == moved.shape == (20, 24)
    assert (moved[image > 200] == 3).all()
    assert (moved[image < 55] == 0).all()
