"""A fold so small that an epoch takes milliseconds: bright discs, a network of two convolutions."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from kaggle_unet.data.batch import Sides
from kaggle_unet.data.dataset import Encoding, TrainingSet, ValidationSet
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.metrics.score import score_image
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, DecodeSettings, WeightSettings
from kaggle_unet.training.fit import FoldParts
from kaggle_unet.training.validate import Finish, validate
from kaggle_unet.types import Sample

CODEC = CODECS["interior_border_background"]
ENCODING = Encoding(InputSettings(normalize="range"), CodecSettings(), WeightSettings())


def draw_sample(id_, seed):
    """Draw two discs of differing size on a noisy background, not square."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((32, 36), np.int32)
    for id_number, radius in ((1, 5), (2, 7)):
        cv2.circle(labels, tuple(int(v) for v in rng.integers(8, 24, 2)), radius, id_number, -1)
    image = np.clip((labels > 0) * 130 + rng.normal(50, 10, labels.shape), 0, 255).astype(np.uint8)
    return Sample(id_, image, labels)


def tiny_network():
    """Two convolutions with all that a resume could forget: running means, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(6, 3, 3, padding=1)
    )


@pytest.fixture(autouse=True)
def _same_threads():
    """Undo the thread count that a fit sets."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def loss():
    return SegmentationLoss(LossSettings(), CODEC.planes, CODEC.activation)


@pytest.fixture(scope="session")
def finish():
    return Finish(CODEC, DecodeSettings(), PostprocessSettings(), score_image)


@pytest.fixture(scope="session")
def training_set():
    samples = [draw_sample(f"t{n}", n) for n in range(5)]
    augmentation = AugmentationSettings(preset="nuclei", crop_px=16)
    return TrainingSet(samples, encoding=ENCODING, augmentation=augmentation, sides=Sides(), seed=0)


@pytest.fixture(scope="session")
def validation_set():
    samples = {f"v{n}": draw_sample(f"v{n}", 10 + n) for n in range(3)}
    return ValidationSet(
        list(samples.values()),
        lambda id_: ENCODING.targets(samples[id_].labels, None),
        inputs=ENCODING.inputs,
        sides=Sides(8),
        batch=2,
    )


@pytest.fixture
def parts(training_set, validation_set, loss, finish):
    judge = partial(validate, validation_set=validation_set, loss=loss, finish=finish)
    return FoldParts(tiny_network, loss, training_set, judge)
