"""The inputs of a network, made of many crops at once as `kaggle_unet.data.inputs.prepare` makes those of one."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kaggle_unet.data.inputs import DEPTH_SCALE, LUMA
from kaggle_unet.data.settings import Channel, InputSettings


class Shown(NamedTuple):
    """Crops, and all that their channels are made of."""

    crops: Tensor
    is_colour: Tensor
    scales: Tensor
    ramps: Tensor
    depths: Tensor


def prepare(shown: Shown, settings: InputSettings) -> Tensor:
    """Turn crops into inputs."""
    inputs = torch.stack([_CHANNELS[channel](shown) for channel in settings.channels], 1)
    return inputs if (settings.mean, settings.std) == (0.0, 1.0) else (inputs - settings.mean) / settings.std


def _scale(values: Tensor, shown: Shown) -> Tensor:
    low, span = shown.scales[:, :, None, None].unbind(1)
    return (values - low) / span


def _gray(shown: Shown) -> Tensor:
    first = shown.crops[:, 0]
    if shown.crops.shape[1] == 1:
        return _scale(first, shown)
    red, green, blue = (channel * float(share) for channel, share in zip(shown.crops.unbind(1), LUMA, strict=True))
    return _scale(torch.where(shown.is_colour[:, None, None], red + green + blue, first), shown)


def _colour(index: int) -> Callable[[Shown], Tensor]:
    return lambda shown: _scale(shown.crops[:, min(index, shown.crops.shape[1] - 1)], shown)


def _ramp(shown: Shown) -> Tensor:
    return shown.ramps[:, :, None].expand_as(shown.crops[:, 0])


def _depth(shown: Shown) -> Tensor:
    return (shown.depths / DEPTH_SCALE)[:, None, None].expand_as(shown.crops[:, 0])


_CHANNELS: dict[Channel, Callable[[Shown], Tensor]] = {
    "gray": _gray,
    "red": _colour(0),
    "green": _colour(1),
    "blue": _colour(2),
    "depth": _depth,
    "ramp": _ramp,
    "gray_ramp": lambda shown: _gray(shown) * _ramp(shown),
}
