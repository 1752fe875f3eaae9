import numpy as np
import pytest
import skimage.segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.kernels.watershed import END, flood, link_contested
from kaggle_unet.masks.labels import blank_classes, find_components
from kaggle_unet.targets.watershed import empty_queues
from tests import naive, strategies


def grow_seeds(seeds, levels, mask):
    """Grow seeds inside a mask: every component of it is flooded, also one with a single seed."""
    labels, n_x = np.multiply(seeds, mask, dtype=np.int32), mask.shape[1]
    classes, elevation = blank_classes(mask.shape), blank_classes(mask.shape)
    classes[1:-1, :n_x] = mask + 1 * (mask & (labels > 0))
    elevation[1:-1, :n_x] = levels
    found, _ = find_components(classes)
    n_seeds, areas = np.full(found.n + 1, 2, dtype=np.int32), np.zeros(labels.max(initial=0) + 1, dtype=np.int64)
    links, nodes = np.full(len(found.runs) + found.n + 1, END, dtype=np.int32), empty_queues(np.count_nonzero(mask))
    link_contested(found.ids, n_seeds, links)
    flood(elevation, classes, found.runs, links, nodes, areas, labels)
    return labels


@st.composite
def elevations(draw):
    """Draw seeds, levels (few, so that there is flat ground) and a mask."""
    seeds = draw(strategies.labels(max_side=12, max_id=9)) // 3
    levels = draw(hnp.arrays(np.uint8, seeds.shape, elements=st.sampled_from([0, 1, 128, 254, 255])))
    return seeds, levels, draw(hnp.arrays(bool, seeds.shape, elements=st.sampled_from([True, True, False])))


def test_runs_of_components_with_several_seeds_are_linked_in_raster_order():
    ids, n_seeds = np.array([1, 2, 1, 3, 2], dtype=np.int32), np.array([0, 2, 1, 2], dtype=np.int32)
    links = np.full(len(ids) + len(n_seeds), END, dtype=np.int32)

    link_contested(ids, n_seeds, links)

    assert links.tolist() == [2, END, END, END, END, END, 0, END, 3]


@given(elevations())
@settings(max_examples=80, deadline=None)
def test_buckets_flood_as_a_heap_does(drawn):
    seeds, levels, mask = drawn

    grown = grow_seeds(seeds, levels, mask)

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

    grown = grow_seeds(seeds, levels, mask)

    assert (grown == skimage.segmentation.watershed(levels, seeds, mask=mask, connectivity=2)).all()


@pytest.mark.parametrize("level", range(255))
def test_every_level_is_told_from_the_next(level):
    seeds, levels = np.array([[1, 0, 0, 0, 2]], dtype=np.int32), np.array([[0, level + 1, 0, level, 0]])

    grown = grow_seeds(seeds, levels, np.ones((1, 5), dtype=bool))

    assert grown.tolist() == [[1, 1, 2, 2, 2]]


def test_the_flood_passes_corners_but_not_gaps():
    seeds = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.int32)
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    mask[2, 0] = True
    gap = np.array([[1, 0, 1]], dtype=bool)

    assert grow_seeds(seeds, np.zeros((3, 3)), mask).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert grow_seeds(seeds[:1], np.zeros((1, 3)), gap).tolist() == [[1, 0, 0]]


def test_a_valley_behind_a_ridge_goes_to_whoever_crosses_it_first():
    seeds = np.array([[1, 0, 0, 0, 2]], dtype=np.int32)

    assert grow_seeds(seeds, np.array([[0, 230, 0, 77, 0]]), np.ones((1, 5), dtype=bool)).tolist() == [[1, 1, 2, 2, 2]]
