"""The method without learning that the demo is measured against."""

import numpy as np

from kaggle_unet.metrics.score import score_image
from kaggle_unet.steps.demo import segment_classically


def disc(y, x, radius, shape=(80, 120)):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return (yy - y) ** 2 + (xx - x) ** 2 <= radius**2


def test_two_touching_discs_under_uneven_light_are_two_objects():
    labels = disc(40, 45, 12).astype(np.int32) + 2 * disc(40, 70, 12)
    light = np.linspace(0, 60, 120)[np.newaxis]
    image = (np.where(labels > 0, 150.0, 10.0) + light).astype(np.uint8)
    found = segment_classically(image)
    assert found.max() == 2
    assert score_image(labels, found).tp[0] == 2


def test_a_hole_is_filled_and_a_speck_is_dropped():
    image = np.where(disc(40, 60, 14) & ~disc(40, 60, 3), 200, 10).astype(np.uint8)
    image[5:7, 5:7] = 255
    found = segment_classically(image)
    assert found.max() == 1
    assert found[40, 60] == 1
    assert found[5, 5] == 0


def test_a_constant_image_has_no_objects():
    assert not segment_classically(np.full((40, 50), 7, np.uint8)).any()
