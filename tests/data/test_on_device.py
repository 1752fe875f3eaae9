"""Batches made on the device are those that the CPU's loader makes; the device is the CPU here."""

import cv2
import numpy as np
import pytest
import torch

from kaggle_unet.data.augment import PRESETS, Preset
from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import Encoding, TrainingSet
from kaggle_unet.data.intensity import IntensityPreset
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.data.on_device.loader import DeviceLoader, choose_loader
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import ConfigError
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import (
    BorderSettings,
    CodecSettings,
    DistanceWeight,
    SizeWeight,
    WeightSettings,
)
from kaggle_unet.training.distributed import RankShard, count_samples, init_distributed
from kaggle_unet.training.fold import open_loader
from kaggle_unet.training.settings import TrainingSettings
from kaggle_unet.types import Sample

CPU = torch.device("cpu")
RGB = InputSettings(channels=("red", "green", "blue", "gray"), mean=0.4, std=0.2)
LEVELS = InputSettings(channels=("red", "green", "blue"), normalize="range")
ENCODING_REST = CodecSettings(), WeightSettings()
ENCODING = Encoding(
    InputSettings(),
    CodecSettings(name="mask_border", border=BorderSettings(radius_px="by_size")),
    WeightSettings(size=SizeWeight(reference_area_px=60), classes={"border": 2.5, "background": 0.5}),
)


def draw_sample(number, shape, *, colour=False, ignore=False, depth=None):
    """Draw touching discs of many sizes, slivers among them, on noise."""
    rng = np.random.default_rng(number)
    labels = np.zeros(shape, np.int32)
    for id_ in range(1, 30):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        cv2.ellipse(labels, (int(x), int(y)), (int(rng.integers(0, 14)), int(rng.integers(0, 9))), 30, 0, 360, id_, -1)
    image = (labels > 0) * 90 + rng.integers(20, 100, shape)
    if colour:
        image = np.dstack([image, image // 2, 255 - image])
    ignored = rng.random(shape) < 0.1 if ignore else None
    return Sample(f"s{number}", image.astype(np.uint8), labels, ignore=ignored, numbers={"depth": depth or 300.0})


@pytest.fixture(autouse=True)
def _one_thread():
    """Thousands of small operations, which threads of a busy machine only hold up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def intensity(monkeypatch):
    """The tones of the preset `none`, in place of none."""
    return lambda **some: monkeypatch.setitem(PRESETS, "none", Preset(intensity=IntensityPreset(**some)))


SAMPLES = [
    draw_sample(0, (60, 70)),
    draw_sample(1, (41, 97), ignore=True),
    draw_sample(2, (80, 80), depth=700.0),
    draw_sample(3, (1, 33)),
    draw_sample(4, (130, 20)),
]
COLOURFUL = [*SAMPLES[:2], draw_sample(5, (60, 70), colour=True), draw_sample(6, (44, 50), colour=True)]


def items_of(preset, *, samples=SAMPLES, encoding=ENCODING, pad_spec=PadSpec(), seed=1, **augmentation):  # noqa: B008
    settings = AugmentationSettings(preset=preset, **{"crops_per_image": 6, **augmentation})
    return TrainingSet(samples, encoding=encoding, augmentation=settings, pad_spec=pad_spec, seed=seed)


def both(items, epoch=1, batch=7):
    """Make an epoch both ways."""
    on_cpu, on_device = BatchLoader(items, batch=batch), DeviceLoader(items, batch=batch, device=CPU)
    assert len(on_cpu) == len(on_device)
    return zip(on_cpu.epoch(epoch), on_device.epoch(epoch), strict=True)


def join(items):
    """Give inputs, planes and weights of an epoch, by the two ways, each as one long tensor."""
    ways = [], []
    for expected, found in both(items):
        assert found.ids == expected.ids
        for one, other in zip(expected[:3], found[:3], strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
        for way, batch in zip(ways, (expected, found), strict=True):
            way.append(batch[:3])
    return [[torch.cat([part.flatten() for part in parts]) for parts in zip(*way, strict=True)] for way in ways]


def assert_same(items):
    """Demand equal inputs and planes, and weights equal but for the last bit of a power."""
    (inputs, planes, weights), found = join(items)
    torch.testing.assert_close(found[0], inputs, rtol=0, atol=2e-6)  # of one gray level in 255, 0.0005
    assert torch.equal(found[1], planes)
    torch.testing.assert_close(found[2], weights, rtol=1e-6, atol=0)


def shares_unlike(items):
    """Measure which share of inputs, planes and weights differ."""
    return [
        (~torch.isclose(*pair, rtol=1e-5, atol=1e-5)).float().mean().item() for pair in zip(*join(items), strict=True)
    ]


@pytest.mark.parametrize("preset", ["none", "light"])
@pytest.mark.parametrize("crop_px", [None, 16, 100])
def test_exact_views_are_the_same_to_the_bit(preset, crop_px):
    expected, found = join(items_of(preset, crop_px=crop_px, pad_spec=PadSpec(16, margin=2), crop_finds_objects=0.5))
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[2], expected[2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("preset", ["nuclei", "salt", "salt_first_place"])
@pytest.mark.parametrize("crop_px", [None, 64])
def test_zoomed_and_rotated_views_are_the_same_but_for_one_pixel_in_a_thousand(preset, crop_px):
    items = items_of(preset, crop_px=crop_px, pad_spec=PadSpec(16))
    assert max(shares_unlike(items)) < 1e-3


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rule", ["touching", "contour"])
@pytest.mark.parametrize("radius_px", [1, 4, "by_size"])
def test_planes_and_weights_of_every_codec_and_border_are_the_same(codec, rule, radius_px):
    last = CODECS[codec].classes[0]
    weights = WeightSettings(classes={last: 3.0}, size=SizeWeight(reference_area_px=90, lo=0.7, hi=3), cap=4)
    encoding = Encoding(
        InputSettings(), CodecSettings(name=codec, border={"rule": rule, "radius_px": radius_px}), weights
    )
    large = np.zeros((90, 90), np.int32)
    large[:70, 3:70], large[80:84, 20:40] = 1, 2  # 10 px apart: border only by the radius near large ones
    large = Sample("large", large.astype(np.uint8), large)
    assert_same(items_of("light", samples=[*SAMPLES, large], encoding=encoding, crops_per_image=2))


def test_an_instance_that_its_border_covers_keeps_its_deepest_pixel():
    labels = np.ones((9, 20), np.int32)
    labels[2:7, 3:9], labels[4:6, 11:19] = 2, 3
    encoding = Encoding(InputSettings(), CodecSettings(border=BorderSettings(radius_px=6)), WeightSettings())
    items = items_of("light", samples=[Sample("a", labels.astype(np.uint8), labels)], encoding=encoding)
    assert_same(items)
    planes = next(DeviceLoader(items, batch=1, device=CPU).epoch(1)).planes
    assert planes[0, 0].sum() == 3, "one pixel of each"


@pytest.mark.parametrize("highest", [255, 256, 40_000, 70_000])
def test_labels_of_any_number_of_bits_are_the_same(highest):
    labels = np.where(SAMPLES[0].labels == 3, highest, SAMPLES[0].labels).astype(np.int32)
    assert_same(items_of("light", samples=[Sample("a", SAMPLES[0].image, labels)]))


def test_gray_and_colour_images_share_a_batch():
    encoding = Encoding(RGB, CodecSettings(), WeightSettings())
    assert_same(items_of("light", samples=COLOURFUL, encoding=encoding))


def test_every_channel_and_every_scale_is_the_same():
    inputs = InputSettings(channels=("gray_ramp", "depth", "ramp", "gray"), invert_bright=True)
    assert_same(items_of("light", encoding=Encoding(inputs, CodecSettings(), WeightSettings())))


def test_noise_is_the_same(intensity):
    intensity(p_noise=0.7, noise=(0.05, 0.3))
    assert_same(items_of("none", samples=COLOURFUL))


@pytest.mark.parametrize("some", [{"p_gray": 0.7}, {"p_shuffle": 0.7}, {"p_gray": 0.5, "p_shuffle": 0.7}])
def test_gray_colours_and_exchanged_channels_are_the_same(intensity, some):
    intensity(**some)
    items = items_of("none", samples=COLOURFUL, encoding=Encoding(RGB, CodecSettings(), WeightSettings()))
    assert_same(items)


def test_blurs_differ_by_a_level_at_most_and_hardly_anywhere(intensity):
    intensity(p_blur=0.7)
    (inputs, *_), found = join(items_of("none", samples=COLOURFUL, encoding=Encoding(LEVELS, *ENCODING_REST)))
    difference = (found[0] - inputs).abs() * 255
    assert difference.max() < 1.01
    assert (difference > 0.01).float().mean() < 1e-3


def test_other_hues_differ_by_a_level_at_most_and_seldom(intensity):
    intensity(p_hue=1.0)
    (inputs, *_), found = join(items_of("none", samples=COLOURFUL, encoding=Encoding(LEVELS, *ENCODING_REST)))
    difference = (found[0] - inputs).abs() * 255
    assert difference.max() < 1.01
    assert (difference > 0.01).float().mean() < 0.05


def test_an_item_does_not_depend_on_its_batch():
    items = items_of("nuclei", crop_px=48, samples=COLOURFUL)
    whole = [batch for batch in DeviceLoader(items, batch=9, device=CPU).epoch(3)]
    single = [batch for batch in DeviceLoader(items, batch=1, device=CPU).epoch(3)]
    assert [id_ for batch in whole for id_ in batch.ids] == [id_ for batch in single for id_ in batch.ids]
    for mine, theirs in zip(zip(*whole, strict=True), zip(*single, strict=True), strict=True):
        assert mine is not theirs
        if isinstance(mine[0], torch.Tensor):
            assert torch.equal(torch.cat(mine), torch.cat(theirs))


def test_epochs_differ_and_come_again():
    items = items_of("light", crop_px=32, sampling="coverage")
    loader = DeviceLoader(items, batch=30, device=CPU)
    first, second, again = (next(loader.epoch(number)).inputs for number in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_epoch_left_early_or_begun_before_another_is_the_one_asked_for():
    items = items_of("light", crop_px=32)
    loader = DeviceLoader(items, batch=4, device=CPU)
    expected = [batch.inputs for batch in loader.epoch(1)]
    early, other = loader.epoch(1), loader.epoch(2)
    next(other)
    other.close()
    assert all(torch.equal(one, batch.inputs) for one, batch in zip(expected, early, strict=True))


def test_nothing_is_drawn_from_torch_s_own_generator():
    before = torch.get_rng_state()
    for _ in DeviceLoader(items_of("nuclei", crop_px=32), batch=8, device=CPU).epoch(1):
        pass
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [2, 3])
def test_processes_have_the_shares_that_workers_would_give_them(size):
    items = items_of("light", crop_px=32, crops_per_image=2)  # the last batch is one item
    for rank in range(size):
        theirs = BatchLoader(RankShard(items, rank, size), batch=3).epoch(1)
        mine = DeviceLoader(items, batch=3, device=CPU, rank=rank, size=size).epoch(1)
        for expected, found in zip(theirs, mine, strict=True):
            assert (found.ids, count_samples(found)) == (expected.ids, count_samples(expected))
            assert torch.equal(found.inputs, expected.inputs)
            torch.testing.assert_close(found.weights, expected.weights, rtol=1e-6, atol=0)


def test_an_image_without_instances_has_planes_without():
    empty = Sample("a", SAMPLES[0].image, np.zeros_like(SAMPLES[0].labels))
    assert_same(items_of("light", samples=[empty]))


def test_what_a_sample_or_the_settings_lack_is_said_at_once():
    nowhere = Sample("a", SAMPLES[0].image, SAMPLES[0].labels)
    deep = Encoding(InputSettings(channels=("depth",)), CodecSettings(), WeightSettings())
    with pytest.raises(ConfigError, match="depth"):
        DeviceLoader(items_of("none", samples=[nowhere], encoding=deep), batch=1, device=CPU)
    sizes = Encoding(InputSettings(), CodecSettings(), WeightSettings(size=SizeWeight()))
    with pytest.raises(ConfigError, match="reference_area_px"):
        DeviceLoader(items_of("none", encoding=sizes), batch=1, device=CPU)


def test_auto_leaves_a_cpu_to_workers_and_says_so():
    place = choose_loader(items_of("light"), "auto", CPU)
    assert not place.on_device
    assert place.text == "batches made by workers (the device is cpu)"
    assert choose_loader(items_of("light"), "device", CPU).on_device
    assert not choose_loader(items_of("light"), "workers", CPU).on_device


@pytest.mark.parametrize(("memory", "on_device"), [(4 * 56_000, True), (4 * 55_000, False)])
def test_auto_takes_a_gpu_with_room_in_a_quarter_of_its_memory(monkeypatch, memory, on_device):
    class Properties:
        total_memory = memory

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    place = choose_loader(items_of("light"), "auto", torch.device("cuda"))
    assert place.on_device is on_device, place.text


def test_a_gpu_leaves_to_workers_what_it_can_not_do_and_refuses_it_when_told_to():
    gpu = torch.device("cuda")
    copied = items_of("first_place")
    assert choose_loader(copied, "auto", gpu).text == "batches made by workers (the preset first_place copies nuclei)"
    with pytest.raises(ConfigError, match="first_place copies nuclei; say workers, or auto"):
        choose_loader(copied, "device", gpu)
    far = Encoding(InputSettings(), CodecSettings(), WeightSettings(distance=DistanceWeight()))
    assert "weights.distance" in choose_loader(items_of("light", encoding=far), "auto", gpu).reason


@pytest.mark.parametrize(
    ("data_on", "kind"), [("device", DeviceLoader), ("workers", BatchLoader), ("auto", BatchLoader)]
)
def test_a_fold_takes_the_loader_that_the_config_names(data_on, kind):
    settings = TrainingSettings(data_on=data_on, batch=3, threads=1)
    loader, place = open_loader(items_of("light"), settings, init_distributed(settings))
    assert isinstance(loader, kind)
    assert len(next(loader.epoch(1)).ids) == 3
    assert place.on_device is (kind is DeviceLoader)
