"""Random changes of an image's gray levels and colours.

Brightness, contrast, gamma and noise are measured in the image's own stretched range, not in 255ths: a fifth of full
scale would drown a dark image whose nuclei are 27 levels bright. Colours, blur and the contrast of neighbourhoods are
albumentations'. That is imported on first use, since it takes seconds, and without its look for a newer version, which
would ask the network. Every call is re-seeded: with its own seeding, worker processes repeat each other and every epoch
the first [1]_.

References
----------
.. [1] Workers with identical random states, mended upstream after 2.0.8, the last release:
   https://github.com/albumentations-team/albumentations/pull/2561

Gray levels that are stretched, bent and made noisy, measured in an image's own range.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.inputs import IntensityRange
from kaggle_unet.types import Image

# Where levels of 0 and 1 lie after a stretch, with room for brighter pixels and noise.
STRETCHED = (32.0, 224.0)


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


def bend_levels(
    *, contrast: float, brightness: float, gamma: float, intensity_range: IntensityRange
) -> NDArray[np.uint8]:
    """List what gray levels become when levels x are mapped to contrast · xᵞ + brightness.

    >>> image = np.array([[10, 35, 60, 110]], np.uint8)
    >>> bend_levels(contrast=1.0, brightness=0.5, gamma=2.0, intensity_range=(10, 110))[image]
    array([[ 60,  66,  85, 160]], dtype=uint8)
    """
    low, high = intensity_range
    x = (np.arange(256) - low) / (high - low)
    bent = contrast * np.sign(x) * np.abs(x) ** gamma + brightness
    table: NDArray[np.uint8] = np.clip(np.rint(low + (high - low) * bent), 0, 255).astype(np.uint8)
    return table


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> NDArray[np.float32]:
    """Draw Gaussian noise."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def add_noise(image: Image, noise: NDArray[np.float32]) -> Image:
    """Add noise to an image, the same to all colours."""
    # Merged, not broadcast: a loop over three colours is what takes numpy longest.
    noisy = image + (noise if image.ndim == 2 else cv2.merge([noise] * 3))
    return np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)


Range = tuple[float, float]
# Levels nearer than this: contrast in neighbourhoods would be stretched to many times the image's own range.
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


def change_intensity(
    image: Image,
    intensity: IntensityPreset,
    rng: np.random.Generator,
    *,
    intensity_range: IntensityRange = (0.0, 255.0),
) -> tuple[Image, IntensityRange]:
    """Change the values of an image at random."""
    if intensity.stretches and image.ndim == 2:
        image, intensity_range = stretch_levels(image, intensity_range)
    drawn = draw_intensity(intensity, rng, image.shape[:2], has_colour=image.ndim == 3, intensity_range=intensity_range)
    if drawn.filters is not None:
        image = np.asarray(drawn.filters(image=image)["image"], dtype=np.uint8)
    if drawn.table is not None:
        image = np.asarray(cv2.LUT(image, drawn.table), dtype=np.uint8)
    return image if drawn.noise is None else add_noise(image, drawn.noise), intensity_range


@dataclass(frozen=True, eq=False)
class IntensityParams:
    """What is to happen to the values of one image, in this order."""

    filters: Any
    table: NDArray[np.uint8] | None
    noise: NDArray[np.float32] | None


def draw_intensity(
    intensity: IntensityPreset,
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    has_colour: bool,
    intensity_range: IntensityRange,
) -> IntensityParams:
    """Draw what happens to the values of an image, which need not be there yet."""
    filters = _pipeline(
        intensity, has_colour=has_colour, has_local=abs(intensity_range[1] - intensity_range[0]) >= _LEAST_RANGE
    )
    if filters is not None:
        filters.set_random_seed(int(rng.integers(2**32)))
    contrast, brightness, gamma = 1.0, 0.0, 1.0
    if rng.random() < intensity.p_levels:
        contrast, brightness = rng.uniform(*intensity.contrast), rng.uniform(*intensity.brightness)
    if rng.random() < intensity.p_gamma:
        gamma = float(np.exp(rng.uniform(*np.log(intensity.gamma))))
    if intensity.p_invert and rng.random() < intensity.p_invert:
        contrast, brightness = -contrast, 1 - brightness  # 1 − x instead of x
    table = None
    if (contrast, brightness, gamma) != (1.0, 0.0, 1.0):
        table = bend_levels(contrast=contrast, brightness=brightness, gamma=gamma, intensity_range=intensity_range)
    noise = None
    if rng.random() < intensity.p_noise:
        noise = draw_noise(rng, shape, rng.uniform(*intensity.noise) * abs(intensity_range[1] - intensity_range[0]))
    return IntensityParams(filters, table, noise)


def read_filters(drawn: IntensityParams, *, has_colour: bool) -> dict[str, dict[str, Any]]:
    """Look up what albumentations would do, without doing it."""
    if drawn.filters is None:
        return {}
    # What those filters draw depends on the number of channels alone.
    little = np.zeros((2, 2, 3) if has_colour else (2, 2), np.uint8)
    return dict(drawn.filters(image=little)["applied_transforms"])


@cache
def _pipeline(intensity: IntensityPreset, *, has_colour: bool, has_local: bool) -> Any:
    """Build albumentations' part, None if there is none."""
    if not (
        intensity.p_blur
        or intensity.p_soften
        or (intensity.p_local and has_local)
        or (_has_colours(intensity) and has_colour)
    ):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    # Brightness (the value) changes with the levels, measured in the image's own range.
    colours = [
        A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=0, p=intensity.p_hue),
        A.ChannelShuffle(p=intensity.p_shuffle),
        A.ToGray(p=intensity.p_gray),
    ]
    local = [A.OneOf([A.CLAHE(clip_limit=2, p=0.5), A.Sharpen(p=0.25), A.Emboss(p=0.25)], p=intensity.p_local)]
    blur = [A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 1.5), p=intensity.p_blur)]
    soften = [A.OneOf([A.MotionBlur(p=0.2), A.MedianBlur(3, p=0.3), A.Blur(3, p=0.5)], p=intensity.p_soften)]
    return A.Compose(
        [
            *(local if intensity.p_local and has_local else []),
            *(colours if has_colour and _has_colours(intensity) else []),
            *(blur if intensity.p_blur else []),
            *(soften if intensity.p_soften else []),
        ],
        save_applied_params=True,
    )


def _has_colours(intensity: IntensityPreset) -> bool:
    return max(intensity.p_hue, intensity.p_shuffle, intensity.p_gray) > 0
