import numpy as np
import pytest
import skimage.segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.targets.watershed import grow_seeds
from tests import naive, strategies


@st.composite
def elevations(draw):
    """Draw seeds, levels (few, so that there is flat ground) and a mask."""
    seeds = draw(strategies.labels(max_side=12, max_id=9)) // 3
    levels = draw(hnp.arrays(np.uint8, seeds.shape, elements=st.sampled_from([0, 1, 128, 254, 255])))
    return seeds, levels, draw(hnp.arrays(bool, seeds.shape, elements=st.sampled_from([True, True, False])))


@given(elevations())
@settings(max_examples=80, deadline=None)
def test_buckets_flood_as_a_heap_does(drawn):
    seeds, levels, mask = drawn

    grown = grow_seeds(seeds, levels.astype(np.float32) / 255, mask)

    assert (grown == naive.flood(levels, seeds, mask)).all()


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    n_seeds=st.integers(0, 12),
    fraction=st.sampled_from([1.0, 0.8, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_without_ties_labels_are_those_of_scikit_image(shape, n_seeds, fraction, seed):
    rng = np.random.default_rng(seed)
    levels = rng.permutation(256)[: shape[0] * shape[1]].reshape(shape)  # no two pixels are of the same elevation
    mask, seeds = rng.random(shape) < fraction, np.zeros(shape, dtype=np.int32)
    for label in range(1, n_seeds + 1):
        seeds[rng.integers(shape[0]), rng.integers(shape[1])] = label
    seeds[~mask] = 0

    grown = grow_seeds(seeds, levels.astype(np.float32) / 255, mask)

    assert (grown == skimage.segmentation.watershed(levels, seeds, mask=mask, connectivity=2)).all()


@pytest.mark.parametrize("level", range(255))
def test_every_level_is_told_from_the_next(level):
    elevation = np.array([[0, level + 1, 0, level, 0]], dtype=np.float32) / 255
    seeds = np.array([[1, 0, 0, 0, 2]], dtype=np.int32)

    grown = grow_seeds(seeds, elevation, np.ones((1, 5), dtype=bool))

    assert grown.tolist() == [[1, 1, 2, 2, 2]]
