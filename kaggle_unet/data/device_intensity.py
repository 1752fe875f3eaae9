"""Network inputs made on the training device: levels, noise and normalisation of a batch of crops.

Workers warp, filter and encode as usual, and only draw the parameters of what `kaggle_unet.data.intensity.apply_levels`
and `kaggle_unet.data.inputs.prepare` would do next; the GPU applies it to the whole batch, and 8-bit images need only a
quarter of the bytes transferred. The noise is drawn by the device's own generator, with the same distribution as on
the CPU.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.data.augment import Crop
from kaggle_unet.data.batch import Batch, ItemRecipe
from kaggle_unet.data.inputs import DEPTH_SCALE, LUMA, require_depth
from kaggle_unet.data.settings import InputSettings


def describe(crop: Crop, settings: InputSettings, *, depth: float | None, seed: int) -> tuple[NDArray[Any], ItemRecipe]:
    """Return a crop's pixels (C, H, W), only the chosen ones of numbered channels, and `render_inputs`'s recipe."""
    pixels, ranges = np.moveaxis(np.atleast_3d(crop.image), 2, 0), np.array(crop.intensity_range, np.float32)
    ranges = ranges.reshape(2, -1)
    if settings.numbers:
        pixels, ranges = pixels[settings.numbers], ranges[:, settings.numbers]
    contrast, brightness, gamma, noise = crop.levels
    depth = require_depth(depth) if "depth" in settings.channels else 0.0
    highest = np.inf if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    numbers = np.array([contrast, brightness, gamma, depth, highest], np.float32)
    return pixels, (ranges, numbers, np.linspace(0, 1, pixels.shape[1], dtype=np.float32), (seed, noise))


def render_inputs(batch: Batch, settings: InputSettings, device: torch.device) -> Batch:
    """Turn a batch of crops (B, C, H, W) with a recipe into a batch of inputs on a device.

    An item does not depend on the others in its batch, except for noise where crops of several sizes are padded.
    Nothing is drawn from torch's global generator.
    """
    assert batch.recipe is not None
    recipe = batch.recipe
    inputs, planes, weights, ranges, numbers, ramps = (
        tensor.to(device, non_blocking=True) for tensor in (*batch[:3], *recipe[:3])
    )
    low, high = ranges[..., None, None].unbind(1)  # each (B, 1 or C, 1, 1)
    contrast, brightness, gamma, depth, highest = numbers[..., None, None, None].unbind(1)  # each (B, 1, 1, 1)
    x = (inputs.float() - low) / (high - low)
    changed = contrast * x.sign() * x.abs().pow(gamma) + brightness
    crops = _to_levels(low + (high - low) * changed, highest)
    crops = (_add_noise(crops, high - low, highest, recipe.noise) - low) / (high - low)
    numbered = iter(crops.unbind(1))
    shown = crops, ramps[:, :, None], depth[:, 0] / DEPTH_SCALE
    planes_of = (_CHANNELS[name](*shown) if name in _CHANNELS else next(numbered) for name in settings.channels)
    channels = torch.stack([plane.expand_as(crops[:, 0]) for plane in planes_of], 1)
    if (settings.mean, settings.std) != (0.0, 1.0):
        channels = (channels - settings.mean) / settings.std
    return Batch(channels, planes, weights, batch.ids)


def _to_levels(values: Tensor, highest: Tensor) -> Tensor:
    """Round and clip to gray levels, except for floats."""
    return values.where(highest.isinf(), values.round().clamp(min=0).minimum(highest))


def _add_noise(crops: Tensor, spans: Tensor, highest: Tensor, noise: Sequence[tuple[int, float]]) -> Tensor:
    """Add noise, the same to all channels of a crop, drawn from the crop's own seed."""
    generator = torch.Generator(crops.device)
    for crop, span, (seed, sigma) in zip(crops, spans, noise, strict=True):
        if sigma:
            generator.manual_seed(seed)
            drawn = torch.randn(crop.shape[1:], generator=generator, device=crop.device)
            crop.add_(drawn * span.abs() * sigma)
    return _to_levels(crops, highest)


def _gray(crops: Tensor) -> Tensor:
    if crops.shape[1] == 1:
        return crops[:, 0]
    red, green, blue = (channel * float(factor) for channel, factor in zip(crops.unbind(1), LUMA, strict=True))
    return red + green + blue


# From crops (B, 1 or 3, H, W), ramps (B, H, 1) and depths (B, 1, 1) to a channel that expands to (B, H, W).
_CHANNELS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gray": lambda crops, _, __: _gray(crops),
    "red": lambda crops, _, __: crops[:, 0],
    "green": lambda crops, _, __: crops[:, crops.shape[1] // 2],
    "blue": lambda crops, _, __: crops[:, -1],
    "depth": lambda _, __, depths: depths,
    "ramp": lambda _, ramps, __: ramps,
    "gray_ramp": lambda crops, ramps, _: _gray(crops) * ramps,
}
