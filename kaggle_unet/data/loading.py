"""The order of an epoch, and batches in that order, by worker processes or none."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from kaggle_unet.data.augment import stable_seed
from kaggle_unet.data.batch import Batch, Item, collate
from kaggle_unet.data.dataset import TrainingSet


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of (epoch, index): the epoch travels with the index, so workers can outlive epochs."""

    def __init__(self, n_items: int, *, batch: int, seed: int) -> None:
        self.epoch = 1
        self._n_items = n_items
        self._batch = batch
        self._seed = seed

    def __len__(self) -> int:
        """Count the batches."""
        return math.ceil(self._n_items / self._batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Go through the items of the epoch, each once."""
        order = np.random.default_rng(stable_seed(self._seed, self.epoch)).permutation(self._n_items)
        for start in range(0, self._n_items, self._batch):
            yield [(self.epoch, int(index)) for index in order[start : start + self._batch]]


class BatchLoader:
    """The batches of each epoch.

    The batches do not depend on `workers`, and making them draws nothing from torch's own generator.
    """

    def __init__(self, items: TrainingSet, *, batch: int, workers: int = 0, pin: bool = False) -> None:
        self._order = EpochOrder(len(items), batch=batch, seed=items.seed)
        self._loader: DataLoader[Item] = DataLoader(
            items,
            batch_sampler=self._order,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_start_worker,
            pin_memory=pin,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self._order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Go through one epoch."""
        self._order.epoch = number
        return iter(self._loader)


def _start_worker(_: int) -> None:
    """Keep each worker to one core, as there are several."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
