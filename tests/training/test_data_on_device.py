"""A training whose inputs are made on the device, which is the CPU here."""

from functools import partial

import pytest
import torch

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.metrics.score import score_image
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import EpochDone, FoldParts
from kaggle_unet.training.settings import TrainingSettings
from kaggle_unet.training.validate import validate
from tests.training import tiny


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def tiny_parts(preset):
    """A fold of milliseconds."""
    samples = [tiny.draw_sample(f"t{n}", n) for n in range(5)]
    items = TrainingSet(
        samples,
        **tiny.ENCODING,
        augmentation=AugmentationSettings(preset=preset, crop_px=16),
        pad_spec=PadSpec(),
        seed=0,
    )
    judge = partial(
        validate,
        validation_set=tiny.make_validation_set({"v": tiny.draw_sample("v", 9)}, PadSpec(8)),
        loss=(loss := SegmentationLoss(LossSettings(), tiny.CODEC.planes, tiny.CODEC.activation)),
        decoder=Decoder(tiny.CODEC),
        metric=score_image,
    )
    return FoldParts(tiny.tiny_network, loss, items, judge)


def fit(folder, data_on="device", preset="nuclei", **how):
    settings = TrainingSettings(epochs=3, batch=2, threads=1, precision="32", data_on=data_on)
    fit_fold(tiny_parts(preset), settings, folder=folder, config={}, **how)
    return load_checkpoint(folder / "last.safetensors")["model"]


def test_a_training_with_data_on_the_device_is_resumed_to_the_bit(tmp_path):
    def interrupt(event):
        if isinstance(event, EpochDone) and event.row["epoch"] == 2:
            raise KeyboardInterrupt

    straight = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", on_event=interrupt)
    resumed = fit(tmp_path / "broken", resume=True)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_training_without_noise_sees_the_same_inputs_wherever_they_are_made(tmp_path):
    here, there = (fit(tmp_path / where, data_on=where, preset="light") for where in ("device", "workers"))
    for name in here:
        torch.testing.assert_close(here[name], there[name], rtol=1e-3, atol=1e-4)


def test_a_result_tells_where_inputs_were_made(tmp_path):
    for data_on, found in (("device", "device"), ("workers", "workers"), ("auto", "workers")):
        settings = TrainingSettings(epochs=1, batch=2, threads=1, data_on=data_on)
        assert fit_fold(tiny_parts("light"), settings, folder=tmp_path / data_on, config={}).batches == found
