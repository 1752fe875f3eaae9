"""Fixtures of a tiny fold."""

from functools import partial

import pytest
import torch

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.metrics.score import score_image
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.training.fold import FoldParts
from kaggle_unet.training.validate import validate
from tests.training.tiny import CODEC, ENCODING, draw_sample, make_validation_set, tiny_network


@pytest.fixture(autouse=True)
def _same_torch():
    """Undo what a fit sets for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def loss():
    return SegmentationLoss(LossSettings(), CODEC.planes, CODEC.activation)


@pytest.fixture(scope="session")
def scoring():
    """What turns planes into a score."""
    return {"decoder": Decoder(CODEC), "metric": score_image}


@pytest.fixture(scope="session")
def training_set():
    samples = [draw_sample(f"t{n}", n) for n in range(5)]
    augmentation = AugmentationSettings(preset="nuclei", crop_px=16)
    return TrainingSet(samples, **ENCODING, augmentation=augmentation, pad_spec=PadSpec(), seed=0)


@pytest.fixture(scope="session")
def validation_set():
    return make_validation_set({f"v{n}": draw_sample(f"v{n}", 10 + n) for n in range(3)}, PadSpec(8))


@pytest.fixture
def parts(training_set, validation_set, loss, scoring):
    validate_model = partial(validate, validation_set=validation_set, loss=loss, **scoring)
    return FoldParts(tiny_network, loss, training_set, validate_model)
