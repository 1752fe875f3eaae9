import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader, EpochOrder
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import ResourceError
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.types import Sample


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    labels = np.zeros((24, 24), np.int32)
    labels[4:12, 4:12] = 1
    samples = [Sample(str(n), rng.integers(0, 256, (24, 24), dtype=np.uint8), labels) for n in range(5)]
    encoding = {"inputs": InputSettings(), "codec": CodecSettings(), "weights": WeightSettings()}
    augmentation = AugmentationSettings(preset="light", crop_px=16)
    return TrainingSet(samples, **encoding, augmentation=augmentation, pad_spec=PadSpec(), seed=3)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(-5, 5), st.integers(1, 4))
def test_an_epoch_has_every_item_once(n_items, batch, seed, epoch):
    order = EpochOrder(n_items, batch=batch, seed=seed)
    order.epoch = epoch
    batches = list(order)
    assert sorted(key.item for keys in batches for key in keys) == list(range(n_items))
    assert {key.epoch for keys in batches for key in keys} == {epoch}
    assert len(batches) == len(order)
    assert all(len(keys) == batch for keys in batches[:-1])


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        one = EpochOrder(50, batch=50, seed=seed)
        one.epoch = epoch
        return [key.item for key in next(iter(one))]

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_loading_draws_nothing_from_torch_s_own_generator(items):
    before = torch.get_rng_state()
    for _ in BatchLoader(items, batch=2).epoch(1):
        pass
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture(scope="module")
def rich_items():
    """Colour images of two types, with everything that is random: all of `first_place`, types and objects preferred."""
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 64), np.int32)
    labels[20:28, 20:28], labels[40:46, 30:37] = 1, 2
    image = (np.dstack([labels > 0] * 3) * 120).astype(np.uint8)
    samples = [
        Sample(str(n), image + rng.integers(0, 100, image.shape, dtype=np.uint8), labels, kind=str(n > 0))
        for n in range(5)
    ]
    inputs = InputSettings(channels=("red", "green", "blue"))
    encoding = {"inputs": inputs, "codec": CodecSettings(), "weights": WeightSettings()}
    augmentation = AugmentationSettings(
        preset="first_place", crop_px=48, crops_per_image=3, sampling="kind", crop_finds_objects=0.5
    )
    return TrainingSet(samples, **encoding, augmentation=augmentation, pad_spec=PadSpec(), seed=3)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_and_no_epoch_repeats(workers, rich_items):
    inline, outside = BatchLoader(rich_items, batch=4), BatchLoader(rich_items, batch=4, workers=workers)
    seen = set()
    for epoch in (1, 2, 3):
        here, there = list(inline.epoch(epoch)), list(outside.epoch(epoch))
        assert [batch.ids for batch in here] == [batch.ids for batch in there]
        for mine, theirs in zip(here, there, strict=True):
            assert torch.equal(mine.inputs, theirs.inputs)
            assert torch.equal(mine.planes, theirs.planes)
            assert torch.equal(mine.weights, theirs.weights)
            seen.update(inputs.numpy().tobytes() for inputs in mine.inputs)
    assert len(seen) == 45
    assert len(inline) == 4


def worker_processes():
    """List the processes that the fork server has started."""
    server = forkserver._forkserver._forkserver_pid
    pids = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [int(pid) for pid in pids if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("when", ["while it starts", "later"])
def test_a_killed_worker_is_a_message_within_seconds(when, monkeypatch):
    labels = np.zeros((2048, 2048), np.int32)  # more than the pipe holds through which a worker gets its samples
    labels[:9, :9] = 1
    samples = [Sample("a", np.zeros((2048, 2048), np.uint8), labels)]
    augmentation = AugmentationSettings(preset="light", crop_px=16, crops_per_image=8)
    encoding = {"inputs": InputSettings(), "codec": CodecSettings(), "weights": WeightSettings()}
    loader = BatchLoader(
        TrainingSet(samples, **encoding, augmentation=augmentation, pad_spec=PadSpec(), seed=3), batch=1, workers=1
    )
    before = worker_processes() if forkserver._forkserver._forkserver_pid else []
    connect = forkserver.connect_to_new_process

    def connect_and_kill(descriptors):
        ends = connect(descriptors)
        while not (new := set(worker_processes()) - set(before)):
            pass
        os.kill(new.pop(), signal.SIGKILL)
        return ends

    if when == "while it starts":
        monkeypatch.setattr(forkserver, "connect_to_new_process", connect_and_kill)

    def kill_in_an_epoch():
        for _ in loader.epoch(1):
            for pid in set(worker_processes()) - set(before):
                os.kill(pid, signal.SIGKILL)

    start = time.monotonic()
    with pytest.raises(ResourceError, match=r"a worker process was killed.*training\.workers .* --resume"):
        kill_in_an_epoch()
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (torch.OutOfMemoryError(), ResourceError, r"next batch does not fit into .* lower training\.batch"),
        (RuntimeError("shape mismatch"), RuntimeError, "shape mismatch"),
        (PermissionError(13, "no file of ours"), PermissionError, "no file of ours"),
        (ConnectionResetError(), ResourceError, "a worker process was killed"),
    ],
)
def test_faults_of_a_batch_are_explained_or_passed_on(items, monkeypatch, fault, expected, words):
    def fail(*_):
        raise fault

    monkeypatch.setattr(TrainingSet, "__getitem__", fail)
    with pytest.raises(expected, match=words):
        next(BatchLoader(items, batch=1).epoch(1))


def test_a_temporary_directory_too_long_for_sockets_is_named(items, monkeypatch):
    def fail(*_):
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(TrainingSet, "__getitem__", fail)
    with pytest.raises(ResourceError, match=r"temporary directory .* set TMPDIR"):
        next(BatchLoader(items, batch=1).epoch(1))
