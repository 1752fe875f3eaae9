"""A process's share of every batch, where several train together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kaggle_unet.data.batch import FILLER, Batch, Item, own_share
from kaggle_unet.data.dataset import TrainingSet


class Shard:
    """A training set that gives one process its share of the items it is asked for.

    Asked for the items of a batch of all processes, it makes those of its own. So a step sees the samples that one
    process with the whole batch would see, whatever the number of processes.
    """

    def __init__(self, items: TrainingSet, rank: int, size: int) -> None:
        self.seed = items.seed
        self._items = items
        self._rank = rank
        self._size = size

    def __len__(self) -> int:
        """Count the items of all processes."""
        return len(self._items)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Make one item."""
        return self._items[key]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Item]:
        """Make this process's share of a batch."""
        own = own_share(keys, self._rank, self._size)
        return [self._items[key] for key in own] or [_blank(self._items[keys[0]])]

    def __getattr__(self, name: str) -> Any:
        """Give what else a training set has."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._items, name)


def count_samples(batch: Batch) -> int:
    """Count the samples of a batch that count."""
    return sum(id_ != FILLER for id_ in batch.ids)


def _blank(item: Item) -> Item:
    return item._replace(weights=np.zeros_like(item.weights), id=FILLER)
