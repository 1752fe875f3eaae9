import numpy as np
import scipy.ndimage
from hypothesis import given, settings

from kaggle_unet.kernels.appearance import DROPPED, renumber_by_appearance
from kaggle_unet.masks.labels import components
from tests import strategies

RUNS = np.array([[0, 0, 2], [1, 0, 2]], dtype=np.int32)  # all of two rows of two


def test_ids_are_given_in_raster_order():
    labels, new_ids = np.array([[0, 3], [1, 3]], dtype=np.int32), np.zeros(4, dtype=np.int32)

    assert renumber_by_appearance(RUNS, labels, new_ids, 0) == 2
    assert labels.tolist() == [[0, 1], [2, 1]]
    assert new_ids.tolist() == [0, 2, 0, 1]


def test_dropped_ids_become_background_and_counting_goes_on_from_where_it_was():
    labels = np.array([[2, 3], [1, 3]], dtype=np.int32)

    assert renumber_by_appearance(RUNS, labels, np.array([0, 0, DROPPED, 0], dtype=np.int32), 5) == 7
    assert labels.tolist() == [[0, 6], [7, 6]]


@given(strategies.masks(max_side=14))
@settings(max_examples=50, deadline=None)
def test_components_are_numbered_as_scipy_numbers_them(mask):
    assert (components(mask, connectivity=8) == scipy.ndimage.label(mask, np.ones((3, 3)))[0]).all()
    assert (components(mask, connectivity=4) == scipy.ndimage.label(mask)[0]).all()
