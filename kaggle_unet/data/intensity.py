"""Intensity augmentation: random changes of an image's gray levels and colours.

Brightness, contrast, gamma and noise are measured in the image's own intensity range: a fifth of full scale would
overwhelm a dark image whose nuclei are 27 levels bright. Colours, blur and local contrast are albumentations', imported
on first use because that takes seconds. Every call is reseeded: otherwise all workers would draw the same numbers [1]_.

References
----------
.. [1] Workers with identical random states, fixed upstream after 2.0.8, the last release:
   https://github.com/albumentations-team/albumentations/pull/2561
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from kaggle_unet.data.inputs import IntensityRange
from kaggle_unet.types import Image

Range = tuple[float, float]
# Where levels of 0 and 1 lie after a stretch, with room for brighter pixels and noise.
STRETCHED = (32.0, 224.0)
# In a narrower range, local contrast would be stretched to many times the range.
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
    noise: float = 0.0  # standard deviation in gray levels


SAME_LEVELS = Levels()


def filter_image(
    image: Image, preset: IntensityPreset, rng: np.random.Generator, intensity_range: IntensityRange
) -> tuple[Image, IntensityRange, Levels]:
    """Stretch, recolour and filter an image, and draw the change of levels that comes last."""
    if preset.stretches and image.ndim == 2:
        image, intensity_range = stretch_levels(image, intensity_range)
    span = abs(intensity_range[1] - intensity_range[0])
    filters = _pipeline(preset, has_colour=image.ndim == 3, has_local=span >= _LEAST_RANGE)
    if filters is not None:
        filters.set_random_seed(int(rng.integers(2**32)))
        image = np.asarray(filters(image=image)["image"], dtype=np.uint8)
    contrast, brightness, gamma, noise = SAME_LEVELS
    if rng.random() < preset.p_levels:
        contrast, brightness = rng.uniform(*preset.contrast), rng.uniform(*preset.brightness)
    if rng.random() < preset.p_gamma:
        gamma = float(np.exp(rng.uniform(*np.log(preset.gamma))))
    if preset.p_invert and rng.random() < preset.p_invert:
        contrast, brightness = -contrast, 1 - brightness  # 1 − x instead of x
    if rng.random() < preset.p_noise:
        noise = rng.uniform(*preset.noise) * span
    return image, intensity_range, Levels(contrast, brightness, gamma, noise)


def apply_levels(image: Image, levels: Levels, rng: np.random.Generator, intensity_range: IntensityRange) -> Image:
    """Change the gray levels of an image and add noise, the same to all colours.

    >>> image, rng = np.array([[10, 35, 60, 110]], np.uint8), np.random.default_rng(0)
    >>> apply_levels(image, Levels(brightness=0.5, gamma=2.0), rng, (10, 110))
    array([[ 60,  66,  85, 160]], dtype=uint8)
    """
    if levels[:3] != SAME_LEVELS[:3]:
        low, high = intensity_range
        x = (np.arange(256) - low) / (high - low)
        changed = levels.contrast * np.sign(x) * np.abs(x) ** levels.gamma + levels.brightness
        table = np.clip(np.rint(low + (high - low) * changed), 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), dtype=np.uint8)
    if not levels.noise:
        return image
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(levels.noise)
    # Merged, not broadcast: a loop over three colours is what takes numpy longest.
    noisy = image + (noise if image.ndim == 2 else cv2.merge([noise] * 3))
    return np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)


@cache
def _pipeline(preset: IntensityPreset, *, has_colour: bool, has_local: bool) -> Any:
    """Build albumentations' filters, None if there are none."""
    has_colour = has_colour and max(preset.p_hue, preset.p_shuffle, preset.p_gray) > 0
    has_local = has_local and preset.p_local > 0
    if not (preset.p_blur or preset.p_soften or has_local or has_colour):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    # Brightness (the value) changes with the levels, measured in the image's own range.
    colours = [
        A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=0, p=preset.p_hue),
        A.ChannelShuffle(p=preset.p_shuffle),
        A.ToGray(p=preset.p_gray),
    ]
    local = A.OneOf([A.CLAHE(clip_limit=2, p=0.5), A.Sharpen(p=0.25), A.Emboss(p=0.25)], p=preset.p_local)
    blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 1.5), p=preset.p_blur)
    soften = A.OneOf([A.MotionBlur(p=0.2), A.MedianBlur(3, p=0.3), A.Blur(3, p=0.5)], p=preset.p_soften)
    return A.Compose(
        [
            *([local] if has_local else []),
            *(colours if has_colour else []),
            *([blur] if preset.p_blur else []),
            *([soften] if preset.p_soften else []),
        ]
    )
