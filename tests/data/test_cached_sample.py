import numpy as np
import pytest

from kaggle_unet.data.augment import CachedSample, labels_of
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.types import Sample

IMAGE = np.array([[10, 10, 250, 10]], np.uint8).repeat(3, 0)
LABELS = np.array([[0, 3, 3, 0], [0, 3, 3, 0], [1, 0, 0, 0]], np.int32)


def test_a_cached_sample_has_the_centre_of_every_instance_that_is_there():
    cached = CachedSample.of(Sample("a", IMAGE, LABELS), InputSettings())
    assert cached.centres_yx.tolist() == [[2.5, 0.5], [1.0, 2.0]]


def test_a_cached_sample_without_instances_has_no_centres():
    assert CachedSample.of(Sample("a", IMAGE, LABELS * 0), InputSettings()).centres_yx.shape == (0, 2)


def test_a_cached_sample_is_small_and_has_the_image_s_intensity_range():
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


def test_a_sample_without_labels_is_refused_by_name():
    with pytest.raises(DataError, match="sample 'x' has no labels"):
        labels_of(Sample("x", IMAGE))


def test_pixels_of_no_known_class_are_no_instance_but_those_of_an_instance_255_are():
    sample = Sample("a", IMAGE, np.where(LABELS == 3, 255, LABELS).astype(np.int32))
    assert CachedSample.of(sample, InputSettings(), semantic=True).centres_yx.tolist() == [[2.5, 0.5]]
    assert CachedSample.of(sample, InputSettings()).centres_yx.tolist() == [[2.5, 0.5], [1.0, 2.0]]
