"""The order of an epoch, and batches in that order, prepared in worker processes or in the main process."""

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from kaggle_unet.data.augment import stable_seed
from kaggle_unet.data.batch import Batch, Item, collate
from kaggle_unet.data.dataset import ItemKey, TrainingSet
from kaggle_unet.data.device_intensity import render_inputs
from kaggle_unet.errors import ResourceError

Key = TypeVar("Key")


def rank_slice(keys: Sequence[Key], rank: int, size: int) -> Sequence[Key]:
    """Return a rank's shard of a batch that several processes make together.

    >>> [rank_slice("abcde", rank, 2) for rank in (0, 1)]
    ['ab', 'cde']
    """
    start, end = (len(keys) * each // size for each in (rank, rank + 1))
    return keys[start:end]


class EpochOrder(Sampler[list[ItemKey]]):
    """Shuffled batches of keys, or a rank's shard of each.

    The epoch travels with the index, so workers can outlive epochs. A rank whose shard is empty gets one item that does
    not count: all ranks must take part in every step.
    """

    def __init__(self, n_items: int, *, batch: int, seed: int, shard: tuple[int, int] = (0, 1)) -> None:
        self.epoch = 1
        self._n_items = n_items
        self._batch = batch
        self._seed = seed
        self._shard = shard

    def __len__(self) -> int:
        """Count the batches."""
        return math.ceil(self._n_items / self._batch)

    def __iter__(self) -> Iterator[list[ItemKey]]:
        """Iterate over the items of the epoch, each once."""
        order = np.random.default_rng(stable_seed(self._seed, self.epoch)).permutation(self._n_items)
        for start in range(0, self._n_items, self._batch):
            keys = [ItemKey(self.epoch, int(index)) for index in order[start : start + self._batch]]
            yield [*rank_slice(keys, *self._shard)] or [keys[0]._replace(counts=False)]


class BatchLoader:
    """The batches of each epoch, each of `batch` items over all ranks; `shard` is a rank and the number of ranks.

    The batches do not depend on `workers`, and making them draws nothing from torch's global generator. With `device`,
    the inputs are computed there: see `render_inputs`. With `ahead`, batches are moved to that device in advance.
    """

    def __init__(
        self,
        items: TrainingSet,
        *,
        batch: int,
        workers: int = 0,
        shard: tuple[int, int] = (0, 1),
        device: torch.device | None = None,
        ahead: torch.device | None = None,
    ) -> None:
        self.device = device
        self._ahead = ahead
        self._inputs = items.inputs
        self._order = EpochOrder(len(items), batch=batch, seed=items.seed, shard=shard)
        # On Linux, workers fork from a process that has no threads and has imported torch already, which takes seconds.
        context = get_context("forkserver" if sys.platform == "linux" else "spawn")
        context.set_forkserver_preload([__name__])
        self._loader: DataLoader[Item] = DataLoader(
            items.for_device() if device else items,
            batch_sampler=self._order,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context=context if workers else None,
            worker_init_fn=_start_worker,
            pin_memory=ahead is not None and ahead.type == "cuda",
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self._order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        self._order.epoch = number
        try:
            batches: Iterator[Batch] = iter(self._loader)
            if self.device:
                batches = (render_inputs(batch, self._inputs, self.device) for batch in batches)
            yield from move_ahead(batches, self._ahead) if self._ahead else batches
        except torch.OutOfMemoryError as error:
            msg = "the next batch does not fit into the device's memory; lower training.batch or augmentation.crop_px"
            raise ResourceError(msg) from error
        except (OSError, EOFError, RuntimeError) as error:
            if "AF_UNIX path too long" in str(error):
                msg = f"the temporary directory {tempfile.gettempdir()} has a name too long for the sockets of worker "
                msg += "processes; set TMPDIR to one of at most 70 characters, or training.workers to 0"
                raise ResourceError(msg) from error
            of_dead_process = isinstance(error, ConnectionError | EOFError) or "DataLoader worker (pid" in str(error)
            if not of_dead_process:
                raise
            msg = "a worker process was killed, most often because memory ran out; set training.workers to a lower "
            raise ResourceError(msg + "number or 0, and continue with --resume") from error


def move_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Move each batch to a device while the step on the previous one runs, on a GPU in a stream of its own."""
    stream: torch.cuda.Stream | None = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def move() -> Batch | None:
        with torch.cuda.stream(stream):
            batch = next(batches, None)
            if batch is None:
                return None
            inputs, planes, weights = (tensor.to(device, non_blocking=True) for tensor in batch[:3])
        return Batch(inputs, planes, weights, batch.ids)

    batch = move()
    while batch:
        if stream:  # the step waits for this batch, not for the next; its memory is free once the step is over
            step = torch.cuda.current_stream(device)
            step.wait_stream(stream)
            for tensor in batch[:3]:
                tensor.record_stream(step)
        following = move()
        yield batch
        batch = following


def _start_worker(_: int) -> None:
    """Keep each worker to one core, as there are several, and end it when the training is killed."""
    # torch watches the fork server instead, which lives as long as its workers
    if (parent := parent_process()) is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
