"""The gray levels and colours of many crops, changed as `kaggle_unet.data.intensity` changes one.

Values are whole numbers in float32. After another hue and saturation single values differ from cv2's by one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kaggle_unet.data.on_device.pixels import mirror

# cv2's integers of BT.601, in 2⁻¹⁵ths.
_LUMA = (9798, 19235, 3735)
# By sixths of the colour wheel: which of (value, least, falling, rising) red, green and blue are.
_SIXTHS = ((0, 3, 1), (2, 0, 1), (1, 0, 3), (1, 2, 0), (3, 1, 0), (0, 1, 2))


@dataclass(frozen=True, eq=False)
class Colours:
    """What happens to the colours of some crops."""

    where: Tensor
    shifts: Tensor
    order: Tensor
    is_gray: Tensor


def change_colours(crops: Tensor, colours: Colours) -> Tensor:
    """Shift hue and saturation, exchange channels, take away colours."""
    old = crops[colours.where]
    is_shifted = colours.shifts.ne(0).any(1)[:, None, None, None]
    new = torch.where(is_shifted, _shift_hues(old, *colours.shifts[:, :, None, None].unbind(1)), old)
    new = new.gather(1, colours.order[:, :, None, None].expand_as(new))
    luma = sum(share * channel for share, channel in zip(_LUMA, new.int().unbind(1), strict=True))
    luma = torch.as_tensor(luma).add(1 << 14).bitwise_right_shift(15).float()
    crops[colours.where] = torch.where(colours.is_gray[:, None, None, None], luma[:, None], new)
    return crops


def _shift_hues(crops: Tensor, hue_shift: Tensor, saturation_shift: Tensor) -> Tensor:
    """Go to cv2's 8-bit HSV and back: hues in two degrees, saturations in 255ths."""
    red, green, blue = crops.int().unbind(1)
    value = crops.int().amax(1)
    span = value - crops.int().amin(1)
    per_value = torch.round((255 << 12) / value.clamp(min=1).double()).int()
    per_span = torch.round((180 << 12) / (6.0 * span.clamp(min=1).double())).int()
    saturation = (span * per_value + (1 << 11)) >> 12
    turn = torch.where(
        value == red, green - blue, torch.where(value == green, blue - red + 2 * span, red - green + 4 * span)
    )
    hue = ((turn * per_span + (1 << 11)) >> 12).remainder(180)
    hue = (hue + hue_shift).remainder(180).floor()
    shifted = (saturation + saturation_shift.trunc()).clamp(0, 255)
    share = torch.where(saturation == 0, saturation.float(), shifted) / 255
    sixth = (hue / 30).floor()
    rest, sixth = hue / 30 - sixth, sixth.long().remainder(6)
    high = value.float()
    levels = torch.stack([high, high * (1 - share), high * (1 - share * rest), high * (1 - share * (1 - rest))], 1)
    which = torch.tensor(_SIXTHS, device=crops.device)[sixth].movedim(-1, 1)
    return levels.gather(1, which).trunc()


def blur(crops: Tensor, where: Tensor, kernels: Tensor, shapes: Tensor) -> Tensor:
    """Blur some crops, each with its own kernel along both axes."""
    blurred = crops[where]
    reach = kernels.shape[1] // 2
    taps = kernels[:, :, None, None, None].unbind(1)
    for axis in (3, 2):  # along rows, then along columns
        near = torch.arange(-reach, blurred.shape[axis] + reach, device=crops.device)
        near = mirror(near, shapes[where, axis - 2, None])[:, None]
        near = near.unsqueeze(5 - axis)
        old, n = blurred, blurred.shape[axis]
        blurred = torch.zeros_like(old)
        for start, tap in enumerate(taps):
            blurred += tap * old.gather(axis, near.narrow(axis, start, n).expand_as(old))
    crops[where] = blurred.round_()
    return crops


def look_up(crops: Tensor, tables: Tensor) -> Tensor:
    """Give every value of a crop another."""
    return tables.float().gather(1, crops.long().flatten(1)).view_as(crops)


def add_noise(crops: Tensor, where: Tensor, noise: Tensor) -> Tensor:
    """Add noise to some crops, the same to all colours."""
    crops[where] = (crops[where] + noise[:, None]).round_().clamp_(0, 255)
    return crops
