"""A fold so small that an epoch takes milliseconds: bright discs, a network of two convolutions."""

import cv2
import numpy as np
import pytest
from torch import nn

from kaggle_unet.data.dataset import ValidationSet
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.targets.weights import encode_with_weights
from kaggle_unet.training.device import DeviceConfig
from kaggle_unet.training.distributed import Distributed
from kaggle_unet.types import Sample

CODEC = CODECS["interior_border_background"]
ENCODING = {"inputs": InputSettings(normalize="range"), "codec": CodecSettings(), "weights": WeightSettings()}


def draw_sample(id_, seed, shape=(32, 36)):
    """Draw two discs of differing size on a noisy background, not square."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for id_number, radius in ((1, 5), (2, 7)):
        cv2.circle(labels, tuple(int(v) for v in rng.integers(8, 24, 2)), radius, id_number, -1)
    image = np.clip((labels > 0) * 130 + rng.normal(50, 10, labels.shape), 0, 255).astype(np.uint8)
    return Sample(id_, image, labels)


def tiny_network():
    """Two convolutions with all that a resume could forget: running means, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(6, 3, 3, padding=1)
    )


def make_validation_set(samples, pad_spec, batch=2):
    """Validate on samples by id, targets made as the store's are."""
    return ValidationSet(
        list(samples.values()),
        lambda id_: encode_with_weights(samples[id_].labels, ENCODING["codec"], ENCODING["weights"]),
        inputs=ENCODING["inputs"],
        pad_spec=pad_spec,
        batch=batch,
    )


# What is tested on a CPU in the ordinary suite, and on a GPU by `scripts/gpu-check`.
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def distributed_on(device, precision="32", *, channels_last=False, deterministic=False):
    """Train on a device, whatever this machine would choose."""
    return Distributed(DeviceConfig(device, precision, channels_last, False, deterministic, 1, "test"))
