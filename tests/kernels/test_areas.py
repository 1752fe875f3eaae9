import numpy as np
import pytest
from hypothesis import given, settings

from kaggle_unet.kernels.labels import ID_WITHOUT_PLACE, count_areas
from tests import strategies


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_areas_are_counted_as_bincount_counts_them_and_added(labels):
    areas = np.full(int(labels.max()) + 1, 5, dtype=np.int64)

    highest = count_areas(labels.view(np.uint32).ravel(), areas)

    assert highest == labels.max()
    assert (areas == 5 + np.bincount(labels.ravel())).all()


@pytest.mark.parametrize("id_", [3, 2**31 - 1, 2**32 - 1])
def test_an_id_without_a_place_is_told(id_):
    assert count_areas(np.array([0, id_], dtype=np.uint32), np.zeros(3, dtype=np.int64)) == ID_WITHOUT_PLACE
