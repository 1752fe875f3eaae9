"""The U-Net paper's distance weight against the idiom of the kits: a stack of one distance transform per instance."""

from functools import partial

import cv2
import edt
import numpy as np
import pytest
import scipy.ndimage

from kaggle_unet.targets.weights import distance_weights
from tests.bench.cases import ALL, describe
from tests.bench.race import Rival

pytestmark = pytest.mark.bench

W0, SIGMA_PX = 10, 5


def weigh_stack(transform, labels):
    """Sort a stack of distances pixel by pixel, as https://stackoverflow.com/a/53201712 and many kits do."""
    ids = np.unique(labels)[1:]
    distances = np.zeros((*labels.shape, len(ids)))
    for index, label in enumerate(ids):
        distances[..., index] = transform(labels != label)
    distances = np.sort(distances, axis=2)
    return W0 * np.exp(-(((distances[..., 0] + distances[..., 1]) / SIGMA_PX) ** 2) / 2) * (labels == 0)


def by_cv2(outside):
    return cv2.distanceTransform(outside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


TRANSFORMS = {"scipy EDT stack": scipy.ndimage.distance_transform_edt, "cv2 EDT stack": by_cv2, "edt stack": edt.edt}


def check(ours, theirs):
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_distance_weight(race, case, labels):
    work = labels.size * int(labels.max())
    rivals = [
        # the stack, its sorted copy, and what the transform needs
        Rival(name, partial(weigh_stack, transform, labels), work, 16 * work + 32 * labels.size, check)
        for name, transform in TRANSFORMS.items()
    ]

    race(describe("distance-weight-map", case, labels), partial(distance_weights, labels), rivals)
