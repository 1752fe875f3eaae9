"""Polygons along the edges of pixels: valid for others, equal when filled again."""

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.path import Path as MatplotlibPath
from shapely import Polygon
from shapely.affinity import rotate, scale

from kaggle_unet.masks.column_runs import paint_instances
from kaggle_unet.masks.labels import areas_px, relabel
from kaggle_unet.masks.polygons import fill_polygons, trace_polygons
from tests import strategies


def filled(polygons, shape):
    return paint_instances([fill_polygons(polygons, shape)], shape)[0]


@given(strategies.labels(max_side=12, max_id=3))
@settings(max_examples=100, deadline=None)
def test_filled_polygons_are_the_labels_again(labels):
    runs = [fill_polygons(parts, labels.shape) for parts in trace_polygons(labels).values()]
    again, n_contested, n_empty = paint_instances(runs, labels.shape)
    np.testing.assert_array_equal(again, relabel(labels))
    assert (n_contested, n_empty) == (0, 0)


@given(strategies.labels(max_side=9, max_id=2))
@settings(max_examples=100, deadline=None)
def test_polygons_are_valid_for_shapely_and_have_the_areas_of_their_pixels(labels):
    for label, parts in trace_polygons(labels).items():
        shapes = [Polygon(rings[0], rings[1:]) for rings in parts]
        assert all(shape.is_valid for shape in shapes)
        assert sum(shape.area for shape in shapes) == areas_px(labels)[label]


def test_a_polygon_of_any_slope_holds_the_pixels_whose_centres_matplotlib_finds_inside():
    shape = rotate(scale(Polygon([(3.2, 2.1), (16.7, 4.4), (13.3, 17.9), (9.1, 8.3), (4.6, 14.2)]), 1.1, 0.9), 17)
    corners = np.array(shape.exterior.coords)[:-1]
    y, x = np.mgrid[:20, :18] + 0.5
    expected = MatplotlibPath(corners).contains_points(np.column_stack([x.ravel(), y.ravel()])).reshape(20, 18)
    np.testing.assert_array_equal(filled([[corners]], (20, 18)) > 0, expected)


@pytest.mark.parametrize("corners", [[(-3, -2), (2, -2), (2, 2), (-3, 2)], [(-9, 0), (2, 0), (2, 2), (-9, 2)]])
def test_what_lies_outside_the_image_is_cut_off(corners):
    np.testing.assert_array_equal(filled([[corners]], (3, 4)), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def test_polygons_that_share_a_side_share_no_pixel():
    left, right = [(0, 0), (2.5, 0), (2.5, 3), (0, 3)], [(2.5, 0), (5, 0), (5, 3), (2.5, 3)]
    assert (filled([[left]], (3, 5)) + filled([[right]], (3, 5))).tolist() == [[1] * 5] * 3


@pytest.mark.parametrize("rings", [[], [[(1, 1)]], [[(1, 1.2), (3, 1.2)]], [[(7, 7), (8, 7), (8, 8)]]])
def test_what_has_no_area_in_the_image_has_no_pixel(rings):
    assert len(fill_polygons([rings], (4, 4))) == 0


def test_points_may_have_a_height():
    flat = [(1, 1), (1, 6), (6, 6), (6, 1)]
    for high in ([(x, y, 9) for x, y in flat], [(x, y, 9) for x, y in flat[:3]]):
        wanted = [(x, y) for x, y, _ in high]
        np.testing.assert_array_equal(fill_polygons([[high]], (8, 8)), fill_polygons([[wanted]], (8, 8)))
