"""Intensity augmentation: random changes of an image's gray levels and colours.

Brightness, contrast, gamma and noise are measured in the image's own intensity range: a fifth of full scale would
overwhelm a dark image whose nuclei are 27 levels bright. Colours, blur and local contrast are albumentations', imported
on first use because that takes seconds. Every call is reseeded: otherwise all workers would draw the same numbers
(fixed upstream after 2.0.8, the last release: https://github.com/albumentations-team/albumentations/pull/2561).
Images beyond 8 bits, and those whose channels have ranges of their own, do without the filters that albumentations
computes only in 8 bits or for colours: CLAHE, median, hue.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.inputs import IntensityRange
from kaggle_unet.types import Image

Range = tuple[float, float]
# Where levels of 0 and 1 lie after a stretch, with room for brighter pixels and noise.
STRETCHED = (32.0, 224.0)
# With a narrower range, local contrast would be stretched to many times that range.
_LEAST_RANGE = 64.0


@dataclass(frozen=True)
class IntensityPreset:
    """How likely an image's values change, and by how much."""

    p_levels: float = 0.0
    contrast: Range = (1.0, 1.0)
    brightness: Range = (0.0, 0.0)
    p_gamma: float = 0.0
    gamma: Range = (1.0, 1.0)
    p_noise: float = 0.0
    noise: Range = (0.0, 0.0)
    p_blur: float = 0.0
    p_hue: float = 0.0
    p_shuffle: float = 0.0
    p_gray: float = 0.0
    stretches: bool = False
    p_local: float = 0.0
    p_soften: float = 0.0
    p_invert: float = 0.0


UNCHANGED = IntensityPreset()


def stretch_levels(image: Image, intensity_range: IntensityRange) -> tuple[Image, IntensityRange]:
    """Spread a dark image over more gray levels.

    >>> stretch_levels(np.array([[10, 15, 20]], np.uint8), (10, 20))
    (array([[ 32, 128, 224]], dtype=uint8), (32.0, 224.0))
    >>> stretch_levels(np.array([[10, 20, 110]], np.uint8), (20, 10))[1]
    (54.3, 32.0)
    """
    low, high = min(intensity_range), max(intensity_range)
    darkest, brightest = float(image.min()), float(image.max())
    factor = (STRETCHED[1] - STRETCHED[0]) / (high - low)
    if brightest > high:
        factor = min(factor, (255 - STRETCHED[0]) / (brightest - low))
    if darkest < low:
        factor = min(factor, STRETCHED[0] / (low - darkest))
    if factor <= 1:
        return image, intensity_range
    table = np.clip(np.rint(STRETCHED[0] + (np.arange(256) - low) * factor), 0, 255).astype(np.uint8)
    new_low, new_high = (STRETCHED[0] + (level - low) * factor for level in intensity_range)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8), (new_low, new_high)


class Levels(NamedTuple):
    """A change of gray levels x to contrast · x**gamma + brightness, where x is 0…1 in the range, and noise."""

    contrast: float = 1.0
    brightness: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0  # standard deviation, as a fraction of the range


SAME_LEVELS = Levels()


def filter_image(
    image: Image, preset: IntensityPreset, rng: np.random.Generator, intensity_range: IntensityRange
) -> tuple[Image, IntensityRange, Levels]:
    """Stretch, recolour and filter an image, and draw the change of levels to apply last."""
    is_8_bit, has_own_ranges = image.dtype == np.uint8, np.ndim(intensity_range[0]) > 0
    if preset.stretches and image.ndim == 2 and is_8_bit and not has_own_ranges:
        image, intensity_range = stretch_levels(image, intensity_range)
    span = abs(intensity_range[1] - intensity_range[0])
    filters = _pipeline(
        preset,
        has_colour=image.ndim == 3 and min(image.shape[:2]) > 1 and not has_own_ranges,  # ToGray drops sides of 1 px
        has_local=not is_8_bit or bool(np.min(span) >= _LEAST_RANGE),
        is_plain=is_8_bit and not has_own_ranges,
    )
    if filters is not None:
        filters.set_random_seed(int(rng.integers(2**32)))
        image = _apply_filters(filters, image, has_own_ranges=has_own_ranges)
    contrast, brightness, gamma, noise = SAME_LEVELS
    if rng.random() < preset.p_levels:
        contrast, brightness = rng.uniform(*preset.contrast), rng.uniform(*preset.brightness)
    if rng.random() < preset.p_gamma:
        gamma = float(np.exp(rng.uniform(*np.log(preset.gamma))))
    if preset.p_invert and rng.random() < preset.p_invert:
        contrast, brightness = -contrast, 1 - brightness  # 1 − x instead of x
    if rng.random() < preset.p_noise:
        noise = rng.uniform(*preset.noise)
    return image, intensity_range, Levels(contrast, brightness, gamma, noise)


def _apply_filters(filters: Any, image: Image, *, has_own_ranges: bool) -> Image:
    """Filter 8-bit images as they are, others on a scale from 0 to 1, to which albumentations clips."""
    if image.dtype == np.uint8:
        return np.asarray(filters(image=image)["image"], dtype=np.uint8)
    axes = (0, 1) if has_own_ranges else None
    low = image.min(axis=axes).astype(np.float32)
    span = np.maximum(image.max(axis=axes) - low, np.finfo(np.float32).tiny)
    return to_levels(filters(image=(image - low) / span)["image"] * span + low, image.dtype)


def to_levels(values: NDArray[Any], dtype: np.dtype[Any]) -> Image:
    """Round and clip to the gray levels of an integer type; floats are kept.

    >>> to_levels(np.array([-3.2, 0.6, 700.0]), np.dtype(np.uint8)).tolist()
    [0, 1, 255]
    """
    if dtype.kind != "f":
        values = np.clip(np.rint(values), 0, np.iinfo(dtype).max)
    return values.astype(dtype)


def apply_levels(image: Image, levels: Levels, rng: np.random.Generator, intensity_range: IntensityRange) -> Image:
    """Change the gray levels of an image and add noise, the same to all channels.

    >>> image, rng = np.array([[10, 35, 60, 110]], np.uint8), np.random.default_rng(0)
    >>> apply_levels(image, Levels(brightness=0.5, gamma=2.0), rng, (10, 110))
    array([[ 60,  66,  85, 160]], dtype=uint8)
    """
    low, high = intensity_range
    if levels[:3] != SAME_LEVELS[:3]:
        is_table = image.dtype == np.uint8 and not np.ndim(low)
        x = ((np.arange(256) if is_table else image) - low) / (high - low)
        changed = levels.contrast * np.sign(x) * np.abs(x) ** levels.gamma + levels.brightness
        changed = to_levels(low + (high - low) * changed, image.dtype)
        image = np.asarray(cv2.LUT(image, changed)) if is_table else changed
    if not levels.noise:
        return image
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32)
    sigmas = np.broadcast_to(np.float32(levels.noise * np.abs(high - low)), image.shape[2:] or 1)
    # Merged, not broadcast: numpy is slow when its inner loop runs over three colours.
    noise = cv2.merge([noise * sigma for sigma in sigmas])
    return to_levels(image + noise, image.dtype)


@cache
def _pipeline(preset: IntensityPreset, *, has_colour: bool, has_local: bool, is_plain: bool) -> Any:
    """Build albumentations' filters, or None if there are none; unless `is_plain`, only those that keep all values."""
    has_colour = has_colour and max(preset.p_hue, preset.p_shuffle, preset.p_gray) > 0
    has_local = has_local and preset.p_local > 0
    if not (preset.p_blur or preset.p_soften or has_local or has_colour):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    # Brightness (the value) changes with the levels, measured in the image's own range.
    hue = A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=0, p=preset.p_hue)
    colours = [*([hue] if is_plain else []), A.ChannelShuffle(p=preset.p_shuffle), A.ToGray(p=preset.p_gray)]
    clahe, median = ([A.CLAHE(clip_limit=2, p=0.5)], [A.MedianBlur(3, p=0.3)]) if is_plain else ([], [])
    local = A.OneOf([*clahe, A.Sharpen(p=0.25), A.Emboss(p=0.25)], p=preset.p_local)
    blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 1.5), p=preset.p_blur)
    soften = A.OneOf([A.MotionBlur(p=0.2), *median, A.Blur(3, p=0.5)], p=preset.p_soften)
    return A.Compose(
        [
            *([local] if has_local else []),
            *(colours if has_colour else []),
            *([blur] if preset.p_blur else []),
            *([soften] if preset.p_soften else []),
        ]
    )
