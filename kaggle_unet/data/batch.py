"""Items and batches, padded by mirroring to sizes that a network accepts, and cropped back.

The mirror includes the edge pixel (numpy's `symmetric`), which works for every size: an image smaller than its padding
is mirrored again and again, and a single pixel becomes a constant.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.types import Planes, Weights

Array = TypeVar("Array", bound=np.generic)
Slices = tuple[slice, slice]


class PadSpec(NamedTuple):
    """The sizes that a network takes: multiples of `multiple`, including `margin` pixels that it loses at each edge."""

    multiple: int = 1
    margin: int = 0


def padded_shape(shape: tuple[int, ...], pad_spec: PadSpec) -> tuple[int, int]:
    """Return the height and width to which an image must be padded.

    >>> padded_shape((101, 128), PadSpec(32))
    (128, 128)
    >>> padded_shape((388, 1), PadSpec(16, margin=94))
    (576, 192)
    """
    multiple, margin = pad_spec
    height, width = (-(-(side + 2 * margin) // multiple) * multiple for side in shape)
    return height, width


def pad_to(inputs: NDArray[Array], shape: tuple[int, int]) -> tuple[NDArray[Array], Slices]:
    """Pad an array (..., H, W) to a shape by mirroring, and also return the slices of the original.

    >>> padded, slices = pad_to(np.array([[1, 2, 3]]), (1, 6))
    >>> padded
    array([[1, 1, 2, 3, 3, 2]])
    >>> crop(padded, slices)
    array([[1, 2, 3]])
    """
    height, width = inputs.shape[-2:]
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    around = ((top, shape[0] - height - top), (left, shape[1] - width - left))
    padded = np.pad(inputs, ((0, 0),) * (inputs.ndim - 2) + around, mode="symmetric")
    return padded, (slice(top, top + height), slice(left, left + width))


def crop(planes: NDArray[Array], slices: Slices, margin: int = 0) -> NDArray[Array]:
    """Return an array without its padding; the network has already cut off its margin."""
    rows, columns = (slice(part.start - margin, part.stop - margin) for part in slices)
    inside: NDArray[Any] = planes[..., rows, columns]
    return inside


# The id of an item that does not count: all processes that train together must take part in every step.
PADDING_ID = ""


# The changes that the device makes to one crop: its rows of `Recipe`.
ItemRecipe = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], tuple[int, float]]


class Recipe(NamedTuple):
    """The changes that the device makes to a batch of crops."""

    ranges: Tensor  # (B, 2, 1 or channels): both ends of the intensity range
    numbers: Tensor  # (B, 5): contrast, brightness, gamma, depth, highest gray level (infinite for floats)
    ramp: Tensor  # (B, H): from 0 to 1 over the unpadded rows
    noise: list[tuple[int, float]]  # a seed, and a standard deviation as a fraction of the range


class Item(NamedTuple):
    """One sample, or one crop of it; with a recipe, `inputs` is a crop's gray levels (C, H, W)."""

    inputs: NDArray[Any]
    planes: Planes
    weights: Weights
    id: str
    recipe: ItemRecipe | None = None


class Batch(NamedTuple):
    """Several samples of one size; a tuple, so that torch and Fabric know how to move it."""

    inputs: Tensor
    planes: Tensor
    weights: Tensor
    ids: list[str]
    recipe: Recipe | None = None


def pad_item(item: Item, shape: tuple[int, int]) -> tuple[Item, Slices]:
    """Pad an item to a shape by mirroring; the padding has weight 0."""
    if item.weights.shape == shape:
        return item, (slice(0, shape[0]), slice(0, shape[1]))
    inputs, slices = pad_to(item.inputs, shape)
    planes, _ = pad_to(item.planes, shape)
    weights = np.zeros(shape, np.float32)
    weights[slices] = item.weights
    recipe = item.recipe
    if recipe is not None:
        ranges, numbers, ramp, noise = recipe
        recipe = ranges, numbers, pad_to(ramp[:, np.newaxis], (shape[0], 1))[0][:, 0], noise
    return Item(inputs, planes, weights, item.id, recipe), slices


def collate(items: Sequence[Item]) -> Batch:
    """Stack items, padded to the largest height and width among them."""
    heights, widths = zip(*(item.weights.shape for item in items), strict=True)
    shape = (max(heights), max(widths))
    padded = [pad_item(item, shape)[0] for item in items]
    n_channels = max(len(item.inputs) for item in padded)  # a gray crop beside colour crops gets three equal colours
    recipe, recipes = None, [item.recipe for item in padded if item.recipe is not None]
    if recipes:
        *arrays, noise = zip(*recipes, strict=True)
        ranges, numbers, ramps = (torch.from_numpy(np.stack(rows)) for rows in arrays)
        recipe = Recipe(ranges, numbers, ramps, list(noise))
    return Batch(
        torch.from_numpy(np.stack([np.broadcast_to(item.inputs, (n_channels, *shape)) for item in padded])),
        torch.from_numpy(np.stack([item.planes for item in padded])),
        torch.from_numpy(np.stack([item.weights for item in padded])),
        [item.id for item in padded],
        recipe,
    )
