"""Network inputs made on the training device: levels, noise and normalisation of a batch of 8-bit crops.

Workers warp, filter and encode as usual, and only draw the parameters of what `kaggle_unet.data.intensity.apply_levels`
and `kaggle_unet.data.inputs.prepare` would do next; the GPU applies it to the whole batch, and a quarter of the bytes
are transferred. The noise is drawn by the device's own generator, with the same distribution as on the CPU.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.data.augment import Crop
from kaggle_unet.data.batch import Batch, ItemRecipe, Recipe
from kaggle_unet.data.inputs import DEPTH_SCALE, LUMA, known_depth
from kaggle_unet.data.settings import Channel, InputSettings


def describe(
    crop: Crop, settings: InputSettings, *, depth: float | None, seed: int
) -> tuple[NDArray[np.uint8], ItemRecipe]:
    """Return a crop's pixels, shape (1 or 3, H, W), and what `render_inputs` has to do to them."""
    pixels = crop.image[np.newaxis] if crop.image.ndim == 2 else crop.image.transpose(2, 0, 1)
    contrast, brightness, gamma, noise = crop.levels
    depth = known_depth(depth) if "depth" in settings.channels else 0.0
    numbers = np.array([*crop.intensity_range, contrast, brightness, gamma, depth], np.float32)
    return pixels, (numbers, np.linspace(0, 1, pixels.shape[1], dtype=np.float32), (seed, noise))


def render_inputs(batch: Batch, settings: InputSettings, device: torch.device) -> Batch:
    """Turn a batch of 8-bit crops (B, 1 or 3, H, W) with a recipe into a batch of inputs (B, C, H, W) on a device.

    An item does not depend on the others of its batch, except for noise where crops of several sizes are padded.
    Nothing is drawn from torch's global generator.
    """
    assert batch.recipe is not None
    recipe = batch.recipe
    inputs, planes, weights, numbers, ramps = (
        tensor.to(device, non_blocking=True) for tensor in (*batch[:3], recipe.numbers, recipe.ramp)
    )
    low, high, contrast, brightness, gamma, depth = numbers[..., None, None].unbind(1)  # each (B, 1, 1)
    x = _scale(inputs.float(), low, high)
    changed = contrast[:, None] * x.sign() * x.abs().pow(gamma[:, None]) + brightness[:, None]
    crops = _to_levels(low[:, None] + (high - low)[:, None] * changed)
    crops = _scale(_add_noise(crops, recipe), low, high)
    shown = crops, ramps[:, :, None], depth / DEPTH_SCALE
    channels = torch.stack([_CHANNELS[name](*shown).expand_as(crops[:, 0]) for name in settings.channels], 1)
    if (settings.mean, settings.std) != (0.0, 1.0):
        channels = (channels - settings.mean) / settings.std
    return Batch(channels, planes, weights, batch.ids)


def _scale(levels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (levels - low[:, None]) / (high - low)[:, None]


def _to_levels(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255)


def _add_noise(crops: Tensor, recipe: Recipe) -> Tensor:
    """Add noise, the same to all colours, in place: each crop's from a seed of its own."""
    generator = torch.Generator(crops.device)
    for crop, (seed, sigma) in zip(crops, recipe.noise, strict=True):
        if sigma:
            generator.manual_seed(seed)
            noise = torch.randn(crop.shape[1:], generator=generator, device=crop.device)
            _to_levels(crop.add_(noise, alpha=sigma))
    return crops


def _gray(crops: Tensor) -> Tensor:
    if crops.shape[1] == 1:
        return crops[:, 0]
    red, green, blue = (channel * float(factor) for channel, factor in zip(crops.unbind(1), LUMA, strict=True))
    return red + green + blue


# From crops (B, 1 or 3, H, W), ramps (B, H, 1) and depths (B, 1, 1) to a channel that expands to (B, H, W).
_CHANNELS: dict[Channel, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gray": lambda crops, _, __: _gray(crops),
    "red": lambda crops, _, __: crops[:, 0],
    "green": lambda crops, _, __: crops[:, crops.shape[1] // 2],
    "blue": lambda crops, _, __: crops[:, -1],
    "depth": lambda _, __, depths: depths,
    "ramp": lambda _, ramps, __: ramps,
    "gray_ramp": lambda crops, ramps, _: _gray(crops) * ramps,
}
