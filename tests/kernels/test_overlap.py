import numpy as np
from hypothesis import given, settings

from kaggle_unet.kernels.overlap import count_overlap
from tests import naive, strategies


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_pairs_are_counted_like_the_twin_does(pair):
    true, pred = pair
    overlap = np.zeros((true.max() + 1, pred.max() + 1), dtype=np.int64)

    count_overlap(true, pred, overlap)

    assert (overlap == naive.count_overlap(true, pred)).all()
