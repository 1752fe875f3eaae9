"""How long the loops take beside the idioms they replace, on one image of 1,024 × 1,024 pixels with some 400 discs."""

import numpy as np
import pytest
from skimage.segmentation import watershed

from kaggle_unet.masks.rle import encode_labels
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.targets.settings import DistanceWeight
from kaggle_unet.targets.watershed import grow_seeds
from kaggle_unet.targets.weights import distance_weight
from tests import naive

pytestmark = pytest.mark.bench

SIDE, N_DISCS, RADIUS = 1024, 400, 18


@pytest.fixture(scope="module")
def labels():
    """Discs at random places, later ones over earlier ones."""
    rng = np.random.default_rng(1)
    y, x = np.ogrid[:SIDE, :SIDE]
    drawn = np.zeros((SIDE, SIDE), dtype=np.int32)
    for label, (v, u) in enumerate(rng.integers(0, SIDE, (N_DISCS, 2)), start=1):
        drawn[(y - v) ** 2 + (x - u) ** 2 <= RADIUS**2] = label
    return np.unique(drawn, return_inverse=True)[1].reshape(drawn.shape).astype(np.int32)


def encode_each_mask(labels):
    """Write runs as most kernels of the competitions do: mask by mask, from the places where a flat mask changes."""
    rles = []
    for label in range(1, labels.max() + 1):
        edges = np.flatnonzero(np.diff(np.pad((labels == label).ravel(order="F").astype(np.int8), 1)))
        rles.append(" ".join(f"{start + 1} {stop - start}" for start, stop in edges.reshape(-1, 2)))
    return rles


def count_by_histogram(true, pred):
    """Count pairs as the competition's reference kernel does."""
    bins = [np.arange(labels.max() + 2) for labels in (true, pred)]
    return np.histogram2d(true.ravel(), pred.ravel(), bins=bins)[0]


@pytest.mark.parametrize("encode", [encode_labels, encode_each_mask])
def test_codes(benchmark, labels, encode):
    benchmark.group = "labels to run-length codes"
    assert benchmark.pedantic(encode, (labels,), rounds=5, warmup_rounds=1) == encode_labels(labels)


@pytest.mark.parametrize("count", [count_overlap, count_by_histogram])
def test_overlap(benchmark, labels, count):
    benchmark.group = "shared pixels of two labels"
    pred = np.roll(labels, 3, axis=0)

    found = benchmark.pedantic(count, (labels, pred), rounds=5, warmup_rounds=1)

    assert (found == count_overlap(labels, pred)).all()


@pytest.mark.parametrize("engine", ["kaggle_unet", "skimage"])
def test_watershed(benchmark, labels, engine):
    benchmark.group = "seeds grown by watershed"
    ground = np.random.default_rng(2).random(labels.shape, dtype=np.float32)
    seeds, mask = np.where(ground < 0.5, labels, 0), labels > 0
    grow = {
        "kaggle_unet": lambda: grow_seeds(seeds, ground, mask),
        "skimage": lambda: watershed(ground, seeds, mask=mask, connectivity=2),
    }[engine]

    found = benchmark.pedantic(grow, rounds=5, warmup_rounds=1)

    assert ((found > 0) >= (seeds > 0)).all()


def weigh_by_stack(labels):
    """Weigh distances from one distance transform per instance, as the U-Net kits do."""
    return np.where(labels > 0, 0, 10 * np.exp(-((naive.two_nearest_px(labels).sum(axis=0) / 5) ** 2) / 2))


def weigh_by_columns(labels):
    """Weigh distances as this package does."""
    return distance_weight(labels, DistanceWeight())


@pytest.mark.parametrize("weigh", [weigh_by_columns, weigh_by_stack])
def test_distance_weight(benchmark, labels, weigh):
    benchmark.group = "distance weight, 256 × 256 pixels of the image"
    corner = np.unique(labels[:256, :256], return_inverse=True)[1].reshape(256, 256).astype(np.int32)

    found = benchmark.pedantic(weigh, (corner,), rounds=5, warmup_rounds=1)

    assert found == pytest.approx(weigh_by_columns(corner), rel=1e-5, abs=1e-6)
