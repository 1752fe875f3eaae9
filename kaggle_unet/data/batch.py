"""What a training step is given: samples as arrays, stacked to tensors of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from kaggle_unet.data.padding import Slices, pad_to, padded_shape
from kaggle_unet.types import Inputs, Planes, Weights

Key = TypeVar("Key")
# The id of an item that counts nowhere: of several processes that train together all must take part in every step.
FILLER = ""


class Item(NamedTuple):
    """One sample, or one crop of it."""

    inputs: Inputs
    planes: Planes
    weights: Weights
    id: str


class Batch(NamedTuple):
    """Several samples of one size; a tuple, so that torch and Fabric know how to move it."""

    inputs: Tensor
    planes: Tensor
    weights: Tensor
    ids: list[str]


@dataclass(frozen=True)
class Sides:
    """Which sizes a network takes."""

    multiple: int = 1
    margin: int = 0

    def around(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Give the size of the inputs that an image needs."""
        return padded_shape(shape, self.multiple, margin=self.margin)


def own_share(keys: Sequence[Key], rank: int, size: int) -> Sequence[Key]:
    """Cut a process's share out of a batch that several make together.

    >>> [own_share("abcde", rank, 2) for rank in (0, 1)]
    ['ab', 'cde']
    """
    start, end = (len(keys) * each // size for each in (rank, rank + 1))
    return keys[start:end]


def pad_item(item: Item, shape: tuple[int, int]) -> tuple[Item, Slices]:
    """Mirror a sample's borders until it has a size; the border counts nowhere."""
    if item.weights.shape == shape:
        return item, (slice(0, shape[0]), slice(0, shape[1]))
    inputs, slices = pad_to(item.inputs, shape)
    planes, _ = pad_to(item.planes, shape)
    weights = np.zeros(shape, np.float32)
    weights[slices] = item.weights
    return Item(inputs, planes, weights, item.id), slices


def collate(items: Sequence[Item]) -> Batch:
    """Stack samples, the smaller ones padded to the largest height and width among them."""
    heights, widths = zip(*(item.weights.shape for item in items), strict=True)
    shape = (max(heights), max(widths))
    padded = [pad_item(item, shape)[0] for item in items]
    return Batch(
        torch.from_numpy(np.stack([item.inputs for item in padded])),
        torch.from_numpy(np.stack([item.planes for item in padded])),
        torch.from_numpy(np.stack([item.weights for item in padded])),
        [item.id for item in padded],
    )
