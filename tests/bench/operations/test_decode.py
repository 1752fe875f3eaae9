"""Planes to labels, whole: seeds, watershed, small ones dropped; against the same steps of scikit-image."""

from functools import partial

import cc3d
import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.measure
from skimage.morphology import remove_small_objects
from skimage.segmentation import watershed

from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings
from tests.bench.cases import ALL, describe
from tests.bench.drawn import draw_planes
from tests.bench.race import Rival

pytestmark = pytest.mark.bench

MIN_SEED_PX, MIN_AREA_PX = 4, 8


def decode(planes):
    settings = DecodeSettings(min_seed_px=MIN_SEED_PX, keep_seedless=False)
    codec = CODECS["interior_border_background"]
    return Decoder(codec, settings, PostprocessSettings(min_area_px=MIN_AREA_PX))(planes)


def _prepare(planes):
    """Mask, seeds and elevation as `decode_instances` defines them."""
    interior, border, _ = planes
    mask = np.minimum(interior + border, 1) > 0.5
    levels = np.rint(np.clip((1 - interior + border) / 2, 0, 1) * 255).astype(np.uint8)
    return mask, (interior > 0.5) & (border <= 0.5) & mask, levels


def by_skimage(planes):
    mask, seeds, levels = _prepare(planes)
    seeds = remove_small_objects(skimage.measure.label(seeds, connectivity=2), max_size=MIN_SEED_PX - 1)
    return remove_small_objects(watershed(levels, seeds, mask=mask, connectivity=2), max_size=MIN_AREA_PX - 1)


def by_cv2(planes):
    """Flood with OpenCV, which draws lines between basins and takes background for one more seed."""
    mask, seeds, levels = _prepare(planes)
    _, seeds, stats, _ = cv2.connectedComponentsWithStats(seeds.view(np.uint8), connectivity=8)
    seeds = np.where(stats[:, cv2.CC_STAT_AREA] < MIN_SEED_PX, 0, np.arange(1, len(stats) + 1))[seeds].astype(np.int32)
    markers = np.where(mask, np.where(seeds > 1, seeds, 0), 1).astype(np.int32)
    labels = cv2.watershed(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR), markers)
    return np.where(labels > 1, labels - 1, 0)


def agreement(ours, theirs):
    """Give the share of pixels whose instances are each other's partners; ids may differ."""
    n_theirs = int(theirs.max()) + 1
    n_pairs = (int(ours.max()) + 1) * n_theirs
    overlap = np.bincount(ours.ravel().astype(np.int64) * n_theirs + theirs.ravel(), minlength=n_pairs)
    overlap = overlap.reshape(-1, n_theirs)
    partners = overlap.argmax(axis=1)
    is_mutual = overlap.argmax(axis=0)[partners] == np.arange(len(partners))
    return float(overlap[is_mutual, partners[is_mutual]].sum() / ours.size)


def check(ours, theirs):
    share = agreement(ours, theirs)
    assert share >= 0.999
    assert np.count_nonzero(np.bincount(theirs.ravel())[1:]) == ours.max()
    return share


@pytest.mark.parametrize("case", ALL, ids=str)
def test_decode(race, case, labels):
    planes = draw_planes(np.random.default_rng(2), labels)
    rivals = [
        Rival("skimage", partial(by_skimage, planes), labels.size, 80 * labels.size, check),
        Rival("cv2", partial(by_cv2, planes), labels.size, 40 * labels.size, agreement),
    ]

    race(describe("decode", case, labels), partial(decode, planes), rivals)


def check_components(ours, theirs):
    share = agreement(ours, theirs)
    assert share == 1
    return share


@pytest.mark.parametrize("case", ALL, ids=str)
def test_components(race, case, labels):
    mask = labels > 0
    ways = {
        "cc3d": partial(cc3d.connected_components, mask, connectivity=8),
        "skimage": partial(skimage.measure.label, mask, connectivity=2),
        "scipy": lambda: scipy.ndimage.label(mask, np.ones((3, 3)))[0],
        "cv2": lambda: cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1],
    }
    rivals = [Rival(name, run, mask.size, 12 * mask.size, check_components) for name, run in ways.items()]

    race(describe("components", case, labels), partial(components, mask), rivals)
