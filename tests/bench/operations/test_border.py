"""The touching border against whole-image filters, and the size table against the 1st place's loop over pixels."""

from functools import partial

import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology

from kaggle_unet.targets.border import border
from tests.bench.cases import ALL, AVERAGE, REAL, SQUARE, describe
from tests.bench.race import Rival

pytestmark = pytest.mark.bench

NOBODY = np.iinfo(np.int32).max


def by_scipy(labels):
    """Compare the highest id in the window with the lowest that is not background."""
    highest = scipy.ndimage.maximum_filter(labels, 3, mode="nearest")
    return scipy.ndimage.minimum_filter(np.where(labels > 0, labels, NOBODY), 3, mode="nearest") < highest


def by_skimage(labels):
    """Compare the same two by morphology."""
    window = np.ones((3, 3), dtype=np.uint8)
    highest = skimage.morphology.dilation(labels, window, mode="ignore")
    return skimage.morphology.erosion(np.where(labels > 0, labels, NOBODY), window, mode="ignore") < highest


def loop_by_size(labels):
    """Look at the window of every pixel, as wide as the 1st place's table says, for two ids."""
    areas = np.bincount(labels.ravel())
    radii = np.select([areas < 300, areas < 2000], [1, 2], 3)
    radii[0] = 6 if areas[1:].max(initial=0) > 4000 else 3
    marked = np.zeros(labels.shape, dtype=bool)
    for y, x in np.ndindex(*labels.shape):
        radius = radii[labels[y, x]]
        ids = np.unique(labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1])
        marked[y, x] = (ids > 0).sum() > 1
    return marked


def check(ours, theirs):
    assert (ours == theirs).all()


@pytest.mark.parametrize("case", ALL, ids=str)
def test_touching_border(race, case, labels):
    rivals = [
        Rival(name, partial(run, labels), labels.size, 4 * labels.nbytes, check)
        for name, run in {"scipy filters": by_scipy, "skimage morphology": by_skimage}.items()
    ]

    race(describe("touching-border", case, labels), partial(border, labels), rivals)


@pytest.mark.parametrize("case", [*SQUARE[:3], AVERAGE, *REAL], ids=str)
def test_border_by_size(race, case, labels):
    loop = Rival("1st place's loop", partial(loop_by_size, labels), labels.size, labels.nbytes, check)

    race(describe("border-by-size", case, labels), partial(border, labels, radius_px="by_size"), [loop])
