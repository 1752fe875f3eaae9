"""A preview has a panel for everything that is known of a sample."""

import numpy as np
import pytest

from kaggle_unet.report.draw import CAPTION_PX, TEXT_PX, WEIGHT_COLOURS, heatmap, preview
from kaggle_unet.types import Sample

LABELS = np.zeros((20, 30), np.int32)
LABELS[2:8, 3:9] = 1
LABELS[10:18, 12:28] = 2
IMAGE = np.where(LABELS > 0, 200, 10).astype(np.uint8)
PLANES = {"mask": np.float32(LABELS > 0), "border": np.float32(LABELS == 2)}


def show(sample, weights=()):
    return preview(sample, PLANES, {name: PLANES["mask"] for name in weights}, side_px=60)


@pytest.mark.parametrize(("weights", "width"), [((), 4 * 66 - 6), (("distance", "total"), 6 * 66 + 5 * TEXT_PX)])
def test_there_are_panels_for_image_labels_planes_and_weights_with_their_scale(weights, width):
    strip = show(Sample("a", IMAGE, LABELS), weights)
    assert strip.shape == (40 + CAPTION_PX, width, 3)
    assert strip.dtype == np.uint8


def test_planes_are_white_where_they_are_one():
    strip = show(Sample("a", IMAGE, LABELS))
    mask = strip[CAPTION_PX:, 2 * 66 : 2 * 66 + 60, 0]
    np.testing.assert_array_equal(mask == 255, np.kron(LABELS > 0, np.ones((2, 2))) > 0)


def test_weight_maps_share_one_scale_dark_where_they_are_high():
    maps = {"low": np.full((20, 30), 2, np.float32), "high": np.full((20, 30), 4, np.float32)}
    strip = preview(Sample("a", IMAGE, LABELS), {}, maps, side_px=60)
    low, high = heatmap(np.array([[0.5, 1.0]]), name=WEIGHT_COLOURS)[0]
    assert (strip[CAPTION_PX:, 132:192] == low).all()
    assert (strip[CAPTION_PX:, 198:258] == high).all()
    assert low.sum() > high.sum()


def test_a_weight_map_of_zeros_is_shown_white():
    strip = preview(Sample("a", IMAGE, LABELS), {}, {"none": np.zeros((20, 30), np.float32)}, side_px=60)
    assert strip[CAPTION_PX:, 132:192].min() > 245
