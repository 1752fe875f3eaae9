"""Inputs made on the device are those that workers make, but for the noise."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from kaggle_unet.data.augment import PRESETS, Preset
from kaggle_unet.data.batch import Batch, PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.intensity import IntensityPreset
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import ConfigError
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, DistanceWeight, WeightSettings
from kaggle_unet.types import Sample
from tests.training.tiny import DEVICES

on_devices = pytest.mark.parametrize("device", DEVICES)
GRAY = InputSettings()
EVERY_CHANNEL = InputSettings(
    channels=("red", "green", "blue", "gray", "ramp", "gray_ramp", "depth"), mean=0.4, std=0.2
)


def draw_sample(number, shape, *, colour=False):
    """Draw discs of many sizes on noise; different in all channels and from all sides."""
    rng = np.random.default_rng(number)
    labels = np.zeros(shape, np.int32)
    for id_ in range(1, 20):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        cv2.circle(labels, (int(x), int(y)), int(rng.integers(1, 12)), id_, -1)
    image = (labels > 0) * 90 + rng.integers(20, 100, shape)
    if colour:
        image = np.dstack([image, image // 2, 255 - image])
    return Sample(f"s{number}", image.astype(np.uint8), labels, numbers={"depth": 300.0 + number})


SAMPLES = [
    draw_sample(0, (60, 70)),
    draw_sample(1, (41, 97)),
    draw_sample(2, (80, 80), colour=True),
    draw_sample(3, (1, 33)),
    draw_sample(4, (130, 40), colour=True),
]


def items_of(preset, inputs=GRAY, *, samples=SAMPLES, **augmentation):
    settings = AugmentationSettings(preset=preset, **{"crops_per_image": 6, **augmentation})
    encoding = {"inputs": inputs, "codec": CodecSettings(), "weights": WeightSettings(distance=DistanceWeight())}
    return TrainingSet(samples, **encoding, augmentation=settings, pad_spec=PadSpec(16), seed=1)


def render(items, device, epoch=1, batch=7):
    """Make an epoch on the device."""
    for made in BatchLoader(items, batch=batch, device=torch.device(device)).epoch(epoch):
        assert {tensor.device.type for tensor in made[:3]} == {device}
        yield Batch(*(tensor.cpu() for tensor in made[:3]), made.ids, made.recipe)


def both(items, device, epoch=1, batch=7):
    """Make an epoch by workers and on the device."""
    return zip(BatchLoader(items, batch=batch).epoch(epoch), render(items, device, epoch, batch), strict=True)


@pytest.fixture
def without_noise(monkeypatch):
    for name, preset in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(preset, intensity=replace(preset.intensity, p_noise=0.0)))


@on_devices
@pytest.mark.usefixtures("without_noise")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("crop_px", [None, 48])
def test_without_noise_the_device_gives_what_workers_give(preset, crop_px, device):
    for expected, found in both(items_of(preset, EVERY_CHANNEL, crop_px=crop_px), device):
        assert found.ids == expected.ids
        assert found.recipe is None
        assert torch.equal(found.planes, expected.planes)
        assert torch.equal(found.weights, expected.weights)
        is_unlike = ~torch.isclose(found.inputs, expected.inputs, rtol=1e-4, atol=1e-4)
        assert is_unlike.float().mean() < 1e-3, "gray levels half-way between two, which 32 bits may round otherwise"
        assert (found.inputs - expected.inputs).abs().max() < 0.2


@on_devices
@pytest.mark.parametrize("preset", PRESETS)
def test_gray_levels_have_the_same_moments_and_histogram(preset, device):
    """4 epochs of 120 crops: means to a hundredth of the standard deviation, every bin to a hundredth of all pixels."""
    items = items_of(preset, crop_px=48, crops_per_image=24)
    pairs = [pair for epoch in (1, 2, 3, 4) for pair in both(items, device, epoch, batch=60)]
    expected, found = (torch.cat([batch.inputs.flatten() for batch in side]) for side in zip(*pairs, strict=True))
    assert found.mean().item() == pytest.approx(expected.mean().item(), abs=0.01 * expected.std().item())
    assert found.var().item() == pytest.approx(expected.var().item(), rel=0.01)
    bins = torch.linspace(-1, 2, 31)
    one, other = (torch.histogram(values, bins).hist / len(values) for values in (expected, found))
    assert (one - other).abs().max() < 0.01


@on_devices
def test_noise_is_as_strong_as_drawn_and_the_same_in_all_colours(monkeypatch, device):
    preset = IntensityPreset(p_noise=1.0, noise=(0.05, 0.05))
    monkeypatch.setitem(PRESETS, "none", Preset(intensity=preset))
    flat = Sample("a", np.full((128, 128, 3), 128, np.uint8), np.zeros((128, 128), np.int32))
    flat.image[0, 0], flat.image[0, 1] = 0, 255
    inputs = InputSettings(channels=("red", "green", "blue"), normalize="range")
    batch = next(render(items_of("none", inputs, samples=[flat]), device, batch=6))
    difference = batch.inputs[..., 1:, :] - 128 / 255
    assert difference.std().item() == pytest.approx(0.05, rel=0.02)
    assert difference.mean().item() == pytest.approx(0, abs=1e-3)
    assert torch.equal(difference[:, 0], difference[:, 2])
    levels = batch.inputs * 255
    torch.testing.assert_close(levels, levels.round().clamp(0, 255), rtol=0, atol=1e-3)
    assert len({crop.numpy().tobytes() for crop in difference}) == 6


@on_devices
def test_an_item_depends_on_seed_epoch_and_index_alone(device):
    items = items_of("nuclei", crop_px=48)
    together, single, other = (
        torch.cat([batch.inputs for batch in render(items, device, epoch, batch=n)])
        for n, epoch in ((9, 3), (1, 3), (9, 4))
    )
    torch.testing.assert_close(together, single, rtol=0, atol=1e-6)  # grays beside colours are a sum of three
    assert not torch.isclose(together, other).flatten(1).all(1).any()


@on_devices
def test_nothing_is_drawn_from_torch_s_own_generators(device):
    before = torch.get_rng_state(), *torch.cuda.get_rng_state_all()
    for _ in render(items_of("first_place", crop_px=32), device):
        pass
    assert all(map(torch.equal, before, (torch.get_rng_state(), *torch.cuda.get_rng_state_all())))


@on_devices
@pytest.mark.parametrize("codec", CODECS)
def test_planes_and_weights_of_every_codec_reach_the_device_as_they_are(codec, device):
    """Two touching pixels among others: with the old twin, their background weighed as much as a border."""
    touching = Sample("a", np.array([[10, 200], [30, 40]], np.uint8), np.array([[1, 2], [0, 0]], np.int32))
    weights = WeightSettings(
        classes={"border": 6} if "border" in CODECS[codec].planes else {}, distance=DistanceWeight()
    )
    items = TrainingSet(
        [touching, *SAMPLES],
        inputs=GRAY,
        codec=CodecSettings(name=codec),
        weights=weights,
        augmentation=AugmentationSettings(preset="none"),
        pad_spec=PadSpec(),
        seed=0,
    )
    for expected, found in both(items, device, batch=1):
        assert torch.equal(found.planes, expected.planes)
        assert torch.equal(found.weights, expected.weights)


@on_devices
@pytest.mark.usefixtures("without_noise")
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("channels", [("gray",), ("channel3", "ramp", "channel1")])
def test_other_types_and_numbered_channels_become_the_same_on_the_device(device, dtype, channels):
    samples = [replace(sample, image=sample.image.astype(dtype) * 100) for sample in SAMPLES if sample.image.ndim == 2]
    if channels != ("gray",):
        samples = [
            replace(one, image=np.dstack([one.image * k for k in (0, 1, 2, 1.5)]).astype(dtype)) for one in samples
        ]
    for expected, found in both(
        items_of("nuclei", InputSettings(channels=channels), samples=samples, crop_px=48), device
    ):
        torch.testing.assert_close(found.inputs, expected.inputs, rtol=1e-3, atol=2e-3)


def test_workers_hand_over_8_bits():
    item = items_of("nuclei", crop_px=32).for_device()[1, 2]
    assert (item.inputs.dtype, item.inputs.shape) == (np.uint8, (3, 32, 32))


def test_a_sample_without_the_depth_that_the_inputs_need_is_an_error():
    shallow = Sample("a", SAMPLES[0].image, SAMPLES[0].labels)
    items = items_of("none", InputSettings(channels=("depth",)), samples=[shallow])
    with pytest.raises(ConfigError, match="depth"):
        next(render(items, "cpu"))
