"""What a training step is given: samples as arrays, stacked to tensors of one size.

Mirrored borders, for networks that take only certain sizes, and the way back.

The mirror includes the edge pixel (numpy's `symmetric`), which works for every size: where an image is smaller than its
border it is mirrored again and again, and a single pixel becomes a constant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.errors import ConfigError
from kaggle_unet.types import Planes, Weights

Array = TypeVar("Array", bound=np.generic)
Slices = tuple[slice, slice]


def padded_shape(shape: tuple[int, int], multiple: int, *, margin: int = 0) -> tuple[int, int]:
    """Give the size an image must be padded to.

    >>> padded_shape((101, 128), 32)
    (128, 128)
    >>> padded_shape((388, 1), 16, margin=94)
    (576, 192)
    """
    height, width = (-(-(side + 2 * margin) // multiple) * multiple for side in shape)
    return height, width


def pad_to(inputs: NDArray[Array], size: int | tuple[int, int]) -> tuple[NDArray[Array], Slices]:
    """Mirror an image's borders until it has a size.

    >>> padded, slices = pad_to(np.array([[1, 2, 3]]), (1, 6))
    >>> padded
    array([[1, 1, 2, 3, 3, 2]])
    >>> crop(padded, slices)
    array([[1, 2, 3]])
    """
    height, width = inputs.shape[-2:]
    wanted = padded_shape((height, width), size) if isinstance(size, int) else size
    if wanted[0] < height or wanted[1] < width:
        msg = (
            f"an image of {height} × {width} can't be padded to {wanted[0]} × {wanted[1]}; cut it first, or pad to more"
        )
        raise ConfigError(msg)
    top, left = (wanted[0] - height) // 2, (wanted[1] - width) // 2
    around = ((top, wanted[0] - height - top), (left, wanted[1] - width - left))
    padded = np.pad(inputs, ((0, 0),) * (inputs.ndim - 2) + around, mode="symmetric")
    return padded, (slice(top, top + height), slice(left, left + width))


def crop(planes: NDArray[Array], slices: Slices) -> NDArray[Array]:
    """Cut the image out of its borders."""
    rows, columns = slices
    inside: NDArray[Any] = planes[..., rows, columns]
    return inside


# The id of an item that counts nowhere: of several processes that train together all must take part in every step.
PADDING_ID = ""


class ItemRecipe(NamedTuple):
    """What the device has to do to one crop; see `Recipe`."""

    numbers: NDArray[np.float32]
    ramp: NDArray[np.float32]
    noise: tuple[int, float]


class Recipe(NamedTuple):
    """What the device has to do to a batch of crops.

    `numbers` (B, 6) holds the two ends of the intensity range, contrast, brightness, gamma and depth; `ramp` (B, H)
    grows from 0 to 1 over the unpadded rows; `noise` is a seed and a standard deviation in gray levels for each crop.
    """

    numbers: Tensor
    ramp: Tensor
    noise: list[tuple[int, float]]


class Item(NamedTuple):
    """One sample, or one crop of it; with a recipe, `inputs` is an 8-bit crop (1 or 3, H, W)."""

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


@dataclass(frozen=True)
class PadSpec:
    """Which sizes a network takes."""

    multiple: int = 1
    margin: int = 0

    def around(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Give the size of the inputs that an image needs."""
        return padded_shape(shape, self.multiple, margin=self.margin)


def pad_item(item: Item, shape: tuple[int, int]) -> tuple[Item, Slices]:
    """Mirror a sample's borders until it has a size; the border counts nowhere."""
    if item.weights.shape == shape:
        return item, (slice(0, shape[0]), slice(0, shape[1]))
    inputs, slices = pad_to(item.inputs, shape)
    planes, _ = pad_to(item.planes, shape)
    weights = np.zeros(shape, np.float32)
    weights[slices] = item.weights
    recipe = item.recipe
    if recipe is not None:
        ramp, _ = pad_to(recipe.ramp[:, np.newaxis], (shape[0], 1))
        recipe = recipe._replace(ramp=ramp[:, 0])
    return Item(inputs, planes, weights, item.id, recipe), slices


def collate(items: Sequence[Item]) -> Batch:
    """Stack samples, the smaller ones padded to the largest height and width among them."""
    heights, widths = zip(*(item.weights.shape for item in items), strict=True)
    shape = (max(heights), max(widths))
    padded = [pad_item(item, shape)[0] for item in items]
    n_channels = max(len(item.inputs) for item in padded)  # gray crops beside colourful ones have three equal colours
    return Batch(
        _stack(np.broadcast_to(item.inputs, (n_channels, *shape)) for item in padded),
        _stack(item.planes for item in padded),
        _stack(item.weights for item in padded),
        [item.id for item in padded],
        _stack_recipes([item.recipe for item in padded if item.recipe is not None]),
    )


def _stack_recipes(recipes: Sequence[ItemRecipe]) -> Recipe | None:
    if not recipes:
        return None
    numbers, ramps, noises = zip(*recipes, strict=True)
    return Recipe(_stack(numbers), _stack(ramps), list(noises))


def _stack(arrays: Iterable[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(list(arrays)))
