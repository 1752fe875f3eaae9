import numpy as np
import pytest

from kaggle_unet.data.augment import CachedSample, truth
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.types import Sample

IMAGE = np.array([[10, 10, 250, 10]], np.uint8).repeat(3, 0)
LABELS = np.array([[0, 3, 3, 0], [0, 3, 3, 0], [1, 0, 0, 0]], np.int32)


def test_a_scene_knows_the_middle_of_every_instance_that_is_there():
    cached = CachedSample.of(Sample("a", IMAGE, LABELS), InputSettings())
    assert cached.middles_yx.tolist() == [[2.5, 0.5], [1.0, 2.0]]


def test_a_scene_without_instances_has_no_middles():
    assert CachedSample.of(Sample("a", IMAGE, LABELS * 0), InputSettings()).middles_yx.shape == (0, 2)


def test_a_scene_is_small_and_has_the_image_s_levels():
    sample = Sample("a", IMAGE, LABELS, numbers={"depth": 7.0})
    cached = CachedSample.of(sample, InputSettings(normalize="range", invert_bright=True))
    assert cached.image is sample.image
    assert cached.labels.dtype == np.uint16
    assert (cached.id, cached.depth, cached.intensity_range) == ("a", 7.0, (0.0, 255.0))


def test_ids_above_sixteen_bits_are_kept():
    cached = CachedSample.of(
        Sample("a", IMAGE, np.where(LABELS == 3, 1 << 16, LABELS).astype(np.int32)), InputSettings()
    )
    assert cached.labels.max() == 1 << 16


def test_the_truth_of_a_test_image_is_asked_for_by_name():
    with pytest.raises(DataError, match="sample 'x' has no labels"):
        truth(Sample("x", IMAGE))
