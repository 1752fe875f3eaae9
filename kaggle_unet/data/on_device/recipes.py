"""What is drawn for a batch before a pixel is touched, and its way to the device.

Everything random is drawn here, on the CPU, by the code and from the seeds that `kaggle_unet.data.augment` uses; so
what a batch shows does not depend on where it is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.data.augment import PRESETS, CachedSample, draw_transform
from kaggle_unet.data.batch import PadSpec, pad_to
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.intensity import IntensityParams, draw_intensity, read_filters

Arrays = dict[str, NDArray[Any]]
_SAME = np.arange(256, dtype=np.uint8)
_ALIGNMENT = 8  # bytes, of the widest numbers


@dataclass(frozen=True, eq=False)
class Recipe:
    """What one crop will be."""

    cached: CachedSample
    number: int
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    intensity: IntensityParams
    filters: dict[str, dict[str, Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.rows.shape[1], self.columns.shape[1]


def draw_recipe(items: TrainingSet, key: tuple[int, int]) -> Recipe:
    """Draw what an item shows, without showing it."""
    number, seed = items.draw(key)
    cached, rng = items.cached_samples[number], np.random.default_rng(seed)
    rows, columns = draw_transform(rng, items.augmentation, cached).axes
    shape, has_colour = (rows.shape[1], columns.shape[1]), cached.image.ndim == 3
    intensity = PRESETS[items.augmentation.preset].intensity
    drawn = draw_intensity(intensity, rng, shape, has_colour=has_colour, intensity_range=cached.intensity_range)
    return Recipe(cached, number, rows, columns, drawn, read_filters(drawn, has_colour=has_colour))


def stack(recipes: Sequence[Recipe], pad_spec: PadSpec | None) -> Arrays:
    """Gather the recipes of a batch."""
    shape = tuple(np.max([recipe.shape for recipe in recipes], axis=0).tolist())
    levels = np.array([recipe.cached.intensity_range for recipe in recipes])
    arrays = {
        "numbers": np.array([recipe.number for recipe in recipes]),
        "shapes": np.array([recipe.shape for recipe in recipes]),
        "rows": np.stack([_fill(recipe.rows, (2, shape[0])) for recipe in recipes]),
        "columns": np.stack([_fill(recipe.columns, (2, shape[1])) for recipe in recipes]),
        "tables": np.stack([_SAME if recipe.intensity.table is None else recipe.intensity.table for recipe in recipes]),
        "scales": np.column_stack([levels[:, 0], levels[:, 1] - levels[:, 0]]).astype(np.float32),
        "ramps": np.stack([_fill(np.linspace(0, 1, recipe.shape[0]), shape[:1]) for recipe in recipes]),
        "depths": np.array([recipe.cached.depth or 0 for recipe in recipes], np.float32),
        "is_colour": np.array([recipe.cached.image.ndim == 3 for recipe in recipes]),
        **_noises(recipes, shape),
        **_colours(recipes),
        **_blurs(recipes),
    }
    if len({recipe.shape for recipe in recipes}) > 1:
        ends = arrays["shapes"][:, :, None]
        below, beyond = np.arange(shape[0]) >= ends[:, 0], np.arange(shape[1]) >= ends[:, 1]
        arrays["is_outside"] = below[:, :, None] | beyond[:, None]
    return arrays | (_padding(recipes, pad_spec) if pad_spec else {})


def transfer(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """Move many small arrays in one piece."""
    sizes = [-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays.values()]
    starts = np.cumsum([0, *sizes]).tolist()
    whole = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    for array, start in zip(arrays.values(), starts, strict=False):
        whole[start : start + array.nbytes] = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    moved = whole.to(device, non_blocking=True)
    return {
        name: moved[start : start + array.nbytes].view(torch.from_numpy(array[:0]).dtype).view(array.shape)
        for (name, array), start in zip(arrays.items(), starts, strict=False)
    }


def _fill(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Put zeros behind."""
    filled = np.zeros(shape, np.float32)
    filled[tuple(slice(side) for side in values.shape)] = values
    return filled


def _noises(recipes: Sequence[Recipe], shape: tuple[int, ...]) -> Arrays:
    noises = {i: recipe.intensity.noise for i, recipe in enumerate(recipes) if recipe.intensity.noise is not None}
    if not noises:
        return {}
    return {"noisy": np.array([*noises]), "noise": np.stack([_fill(noise, shape) for noise in noises.values()])}


def _colours(recipes: Sequence[Recipe]) -> Arrays:
    names = {"HueSaturationValue", "ChannelShuffle", "ToGray"}
    changed = {i: recipe.filters for i, recipe in enumerate(recipes) if names & recipe.filters.keys()}
    if not changed:
        return {}
    hues = [filters.get("HueSaturationValue", {"hue_shift": 0, "sat_shift": 0}) for filters in changed.values()]
    orders = [filters.get("ChannelShuffle", {"channels_shuffled": [0, 1, 2]}) for filters in changed.values()]
    return {
        "coloured": np.array([*changed]),
        "shifts": np.array([(hue["hue_shift"], hue["sat_shift"]) for hue in hues], np.float32),
        "orders": np.array([order["channels_shuffled"] for order in orders]),
        "is_gray": np.array(["ToGray" in filters for filters in changed.values()]),
    }


def _blurs(recipes: Sequence[Recipe]) -> Arrays:
    blurs = {i: recipe.filters.get("GaussianBlur") for i, recipe in enumerate(recipes)}
    kernels = {i: blur["kernel"] for i, blur in blurs.items() if blur is not None}
    if not kernels:
        return {}
    side = max(len(kernel) for kernel in kernels.values())
    centred = [np.pad(kernel, (side - len(kernel)) // 2) for kernel in kernels.values()]
    return {"blurred": np.array([*kernels]), "kernels": np.array(centred, np.float32)}


def _padding(recipes: Sequence[Recipe], pad_spec: PadSpec) -> Arrays:
    """List which row and column of its crop each padded one shows, and which of them count."""
    padded = [pad_spec.around(recipe.shape) for recipe in recipes]
    arrays = {}
    for axis, name in enumerate(("row", "column")):
        last = max(shape[axis] for shape in padded)
        found = [_pad(recipe.shape[axis], shape[axis], last) for recipe, shape in zip(recipes, padded, strict=True)]
        arrays[f"{name}_of"], arrays[f"{name}_counts"] = (np.stack(each) for each in zip(*found, strict=True))
    return arrays


def _pad(side: int, own: int, common: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Pad an axis to the size an item has alone, then to the one it has in its batch."""
    places, inner = pad_to(np.arange(side)[None], (1, own))
    places, outer = pad_to(places, (1, common))
    counts = np.zeros(common, np.bool_)
    counts[outer[1]][inner[1]] = True
    return places[0], counts
