"""Drawn salt tiles have the shape, the emptiness and the texture that a network needs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.synthetic.images import draw_salt


def draw(n, seed=0, **chances):
    rng = np.random.default_rng(seed)
    return [draw_salt(rng, **chances) for _ in range(n)]


@given(seed=st.integers(0, 2**32 - 1))
def test_any_tile_has_kaggles_size_and_is_never_full(seed):
    image, mask = draw_salt(np.random.default_rng(seed))
    assert image.shape == mask.shape == (101, 101)
    assert (image.dtype, mask.dtype) == (np.uint8, np.bool_)
    assert not mask.all()


def test_the_chances_of_empty_and_black_tiles_are_kept():
    assert all(not image.any() and not mask.any() for image, mask in draw(5, black=1.0))
    assert all(image.any() and not mask.any() for image, mask in draw(5, empty=1.0, black=0.0))
    assert all(mask.any() for _, mask in draw(20, empty=0.0, black=0.0))


def test_coverage_runs_from_slivers_to_nearly_full():
    coverage = np.array([mask.mean() for _, mask in draw(200, empty=0.0, black=0.0)])
    assert coverage.min() < 0.05
    assert coverage.max() > 0.9
    assert 0.25 < coverage.mean() < 0.6


def test_salt_is_calmer_than_sediment_but_not_brighter():
    tiles = [tile for tile in draw(60, empty=0.0, black=0.0) if 0.2 < tile[1].mean() < 0.8]
    deviations = np.array([[image[mask].std(), image[~mask].std()] for image, mask in tiles])
    means = np.array([[image[mask].mean(), image[~mask].mean()] for image, mask in tiles])
    assert len(tiles) > 20
    assert (deviations[:, 0] < deviations[:, 1]).mean() > 0.9
    assert abs(np.diff(means, axis=1).mean()) < 5
