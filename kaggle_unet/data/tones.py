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
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from kaggle_unet.data.inputs import Levels
from kaggle_unet.types import Image

Range = tuple[float, float]
# Where levels of 0 and 1 lie after a stretch, with room for brighter pixels and noise.
STRETCHED = (32.0, 224.0)
# Levels nearer than this: contrast in neighbourhoods would be stretched to many times the image's own range.
_LEAST_RANGE = 64.0


@dataclass(frozen=True)
class Tones:
    """How likely an image's values change, and by how much.

    Attributes
    ----------
    p_levels : float
        Probability of a new contrast and brightness.
    contrast, brightness : tuple of float
        Ranges of the factor, and of what is added to levels of 0…1.
    p_gamma : float
        Probability of a new gamma.
    gamma : tuple of float
        Range of the exponent, drawn evenly in its logarithm.
    p_noise : float
        Probability of Gaussian noise.
    noise : tuple of float
        Range of its standard deviation, in levels of 0…1.
    p_blur : float
        Probability of a Gaussian blur, σ from 0.4 to 1.5 px.
    p_hue, p_shuffle, p_gray : float
        Probability of another hue and saturation, of channels in another order, of no colours. Colour images only.
    stretches : bool
        Dark gray images are spread over more gray levels first, so that what follows is as strong in them, and rounded
        as little, as in any other.
    p_local : float
        Probability of more contrast in neighbourhoods: CLAHE in half of the cases, else a sharper image or an
        embossed one. Not for an image whose levels are less than 64 apart.
    p_soften : float
        Probability of a small blur: the mean or the median of 3 × 3 pixels, or motion along a line of up to 7.
    p_invert : float
        Probability that bright and dark change places, within the image's own levels.
    """

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


UNCHANGED = Tones()


def change_tones(
    image: Image, tones: Tones, rng: np.random.Generator, *, levels: Levels = (0.0, 255.0)
) -> tuple[Image, Levels]:
    """Change the values of an image at random.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Not changed.
    tones : Tones
        Which changes.
    rng : Generator
        Source of chance.
    levels : tuple of float
        The gray levels that count as 0 and 1.

    Returns
    -------
    image : uint8 array, same shape
        Cut off at 0 and 255, as a camera would.
    levels : tuple of float
        What counts as 0 and 1 now; as given, but for a stretch.
    """
    if tones.stretches and image.ndim == 2:
        image, levels = stretch_levels(image, levels)
    image = _filter(image, tones, rng, levels)
    contrast, brightness, gamma = 1.0, 0.0, 1.0
    if rng.random() < tones.p_levels:
        contrast, brightness = rng.uniform(*tones.contrast), rng.uniform(*tones.brightness)
    if rng.random() < tones.p_gamma:
        gamma = float(np.exp(rng.uniform(*np.log(tones.gamma))))
    if tones.p_invert and rng.random() < tones.p_invert:
        contrast, brightness = -contrast, 1 - brightness  # 1 − x instead of x
    if (contrast, brightness, gamma) != (1.0, 0.0, 1.0):
        image = bend_levels(image, contrast=contrast, brightness=brightness, gamma=gamma, levels=levels)
    if rng.random() < tones.p_noise:
        image = add_noise(image, rng, rng.uniform(*tones.noise) * abs(levels[1] - levels[0]))
    return image, levels


def stretch_levels(image: Image, levels: Levels) -> tuple[Image, Levels]:
    """Spread a dark image over more gray levels.

    Parameters
    ----------
    image : uint8 array, shape (H, W)
        Not changed.
    levels : tuple of float
        The gray levels that count as 0 and 1.

    Returns
    -------
    image : uint8 array, same shape
        Rounded; none of its pixels is cut off. What was bright stays bright.
    levels : tuple of float
        What counts as 0 and 1 now: at most `STRETCHED`, nearer where brighter pixels need the room; as given where they
        were as far apart already.

    Examples
    --------
    >>> stretch_levels(np.array([[10, 15, 20]], np.uint8), (10, 20))
    (array([[ 32, 128, 224]], dtype=uint8), (32.0, 224.0))
    >>> stretch_levels(np.array([[10, 20, 110]], np.uint8), (20, 10))[1]
    (54.3, 32.0)
    """
    low, high = min(levels), max(levels)
    darkest, brightest = float(image.min()), float(image.max())
    factor = (STRETCHED[1] - STRETCHED[0]) / (high - low)
    if brightest > high:
        factor = min(factor, (255 - STRETCHED[0]) / (brightest - low))
    if darkest < low:
        factor = min(factor, STRETCHED[0] / (low - darkest))
    if factor <= 1:
        return image, levels
    table = np.clip(np.rint(STRETCHED[0] + (np.arange(256) - low) * factor), 0, 255).astype(np.uint8)
    new_low, new_high = (STRETCHED[0] + (level - low) * factor for level in levels)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8), (new_low, new_high)


def bend_levels(image: Image, *, contrast: float, brightness: float, gamma: float, levels: Levels) -> Image:
    """Map levels x of an image to contrast · xᵞ + brightness.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Not changed.
    contrast, brightness, gamma : float
        1, 0 and 1 change nothing; what is below 0 keeps its sign.
    levels : tuple of float
        The gray levels that are 0 and 1.

    Returns
    -------
    image : uint8 array, same shape
        Rounded, cut off at 0 and 255.

    Examples
    --------
    >>> image = np.array([[10, 35, 60, 110]], np.uint8)
    >>> bend_levels(image, contrast=1.0, brightness=0.5, gamma=2.0, levels=(10, 110))
    array([[ 60,  66,  85, 160]], dtype=uint8)
    """
    low, high = levels
    x = (np.arange(256) - low) / (high - low)
    bent = contrast * np.sign(x) * np.abs(x) ** gamma + brightness
    table = np.clip(np.rint(low + (high - low) * bent), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def add_noise(image: Image, rng: np.random.Generator, sigma: float) -> Image:
    """Add Gaussian noise, the same to all colours.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Not changed.
    rng : Generator
        Source of chance.
    sigma : float
        Standard deviation in gray levels.

    Returns
    -------
    image : uint8 array, same shape
        Rounded, cut off at 0 and 255.
    """
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(sigma)
    # Merged, not broadcast: a loop over three colours is what takes numpy longest.
    noisy = image + (noise if image.ndim == 2 else cv2.merge([noise] * 3))
    return np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)


def _filter(image: Image, tones: Tones, rng: np.random.Generator, levels: Levels) -> Image:
    """Do albumentations' part."""
    has_colour, is_wide = image.ndim == 3, abs(levels[1] - levels[0]) >= _LEAST_RANGE
    pipeline = _pipeline(tones, has_colour=has_colour, has_local=is_wide)
    if pipeline is None:
        return image
    pipeline.set_random_seed(int(rng.integers(2**32)))
    return np.asarray(pipeline(image=image)["image"], dtype=np.uint8)


@cache
def _pipeline(tones: Tones, *, has_colour: bool, has_local: bool) -> Any:
    """Build albumentations' part, None if there is none."""
    if not (tones.p_blur or tones.p_soften or (tones.p_local and has_local) or (_has_colours(tones) and has_colour)):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    # Brightness (the value) changes with the levels, measured in the image's own range.
    colours = [
        A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=0, p=tones.p_hue),
        A.ChannelShuffle(p=tones.p_shuffle),
        A.ToGray(p=tones.p_gray),
    ]
    local = [A.OneOf([A.CLAHE(clip_limit=2, p=0.5), A.Sharpen(p=0.25), A.Emboss(p=0.25)], p=tones.p_local)]
    blur = [A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 1.5), p=tones.p_blur)]
    soften = [A.OneOf([A.MotionBlur(p=0.2), A.MedianBlur(3, p=0.3), A.Blur(3, p=0.5)], p=tones.p_soften)]
    return A.Compose(
        [
            *(local if tones.p_local and has_local else []),
            *(colours if has_colour and _has_colours(tones) else []),
            *(blur if tones.p_blur else []),
            *(soften if tones.p_soften else []),
        ]
    )


def _has_colours(tones: Tones) -> bool:
    return max(tones.p_hue, tones.p_shuffle, tones.p_gray) > 0
