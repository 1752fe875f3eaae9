import numpy as np
import scipy.ndimage
from hypothesis import given, settings

from kaggle_unet.kernels.labels import DROPPED, renumber_in_raster_order
from kaggle_unet.masks.labels import components, whole_rows
from tests import strategies


def test_ids_are_given_in_raster_order():
    labels, new_ids = np.array([[0, 3], [1, 3]], dtype=np.int32), np.zeros(4, dtype=np.int32)

    renumber_in_raster_order(whole_rows((2, 2)), labels, new_ids)

    assert labels.tolist() == [[0, 1], [2, 1]]
    assert new_ids.tolist() == [0, 2, 0, 1]


def test_dropped_ids_leave_no_gap():
    labels, new_ids = np.array([[5, 3], [1, 3], [5, 2]], dtype=np.int32), np.zeros(6, dtype=np.int32)
    new_ids[3] = DROPPED

    renumber_in_raster_order(whole_rows((3, 2)), labels, new_ids)

    assert labels.tolist() == [[1, 0], [2, 0], [1, 3]]


def test_pixels_outside_the_runs_are_left_alone():
    labels = np.array([[7, 7, 9, 9]], dtype=np.int32)

    renumber_in_raster_order(np.array([[0, 1, 3]], dtype=np.int32), labels, np.zeros(10, dtype=np.int32))

    assert labels.tolist() == [[7, 1, 2, 9]]


@given(strategies.masks(max_side=14))
@settings(max_examples=50, deadline=None)
def test_components_are_numbered_as_scipy_numbers_them(mask):
    assert (components(mask, connectivity=8) == scipy.ndimage.label(mask, np.ones((3, 3)))[0]).all()
    assert (components(mask, connectivity=4) == scipy.ndimage.label(mask)[0]).all()
