import numpy as np
from hypothesis import given, settings

from kaggle_unet.kernels.labels import count_areas, replace_ids
from tests import strategies


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_areas_are_counted_as_bincount_counts_them_and_added(labels):
    areas = np.full(int(labels.max()) + 1, 5, dtype=np.int64)

    count_areas(labels.ravel(), areas)

    assert (areas == 5 + np.bincount(labels.ravel())).all()


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_ids_are_looked_up_in_place_or_elsewhere(labels):
    new_ids = np.arange(int(labels.max()) + 1, dtype=np.int32)[::-1].copy()
    expected, elsewhere = new_ids[labels], np.empty_like(labels)

    replace_ids(labels.ravel(), new_ids, elsewhere.ravel())
    replace_ids(labels.ravel(), new_ids, labels.ravel())

    assert (elsewhere == expected).all()
    assert (labels == expected).all()
