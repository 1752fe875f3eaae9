"""Random changes of an image's gray levels and colours.

Brightness, contrast, gamma and noise are measured in the image's own stretched range, not in 255ths: a fifth of full
scale would drown a dark image whose nuclei are 27 levels bright. Colours and blur are albumentations'. That is imported
on first use, since it takes seconds, and without its look for a newer version, which would ask the network. Every call
is re-seeded: with its own seeding, worker processes repeat each other and every epoch the first [1]_.

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

from kaggle_unet.types import Image

Range = tuple[float, float]
Levels = tuple[float, float]  # the gray levels that become 0 and 1; the first is larger where an image is inverted


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
    p_colour : float
        Probability of each of: other hue and saturation, channels in another order, no colours. Colour images only.
    """

    p_levels: float = 0.0
    contrast: Range = (1.0, 1.0)
    brightness: Range = (0.0, 0.0)
    p_gamma: float = 0.0
    gamma: Range = (1.0, 1.0)
    p_noise: float = 0.0
    noise: Range = (0.0, 0.0)
    p_blur: float = 0.0
    p_colour: float = 0.0


UNCHANGED = Tones()


def change_tones(image: Image, tones: Tones, rng: np.random.Generator, *, levels: Levels = (0.0, 255.0)) -> Image:
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
    """
    has_colour = image.ndim == 3
    if tones.p_blur or (tones.p_colour and has_colour):
        pipeline = _pipeline(tones, has_colour=has_colour)
        pipeline.set_random_seed(int(rng.integers(2**32)))
        image = pipeline(image=image)["image"]
    contrast, brightness, gamma = 1.0, 0.0, 1.0
    if rng.random() < tones.p_levels:
        contrast, brightness = rng.uniform(*tones.contrast), rng.uniform(*tones.brightness)
    if rng.random() < tones.p_gamma:
        gamma = float(np.exp(rng.uniform(*np.log(tones.gamma))))
    if (contrast, brightness, gamma) != (1.0, 0.0, 1.0):
        image = bend_levels(image, contrast=contrast, brightness=brightness, gamma=gamma, levels=levels)
    if rng.random() < tones.p_noise:
        image = add_noise(image, rng, rng.uniform(*tones.noise) * abs(levels[1] - levels[0]))
    return image


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
    noisy = image + (noise if image.ndim == 2 else noise[..., np.newaxis])
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@cache
def _pipeline(tones: Tones, *, has_colour: bool) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    colours = [
        A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=0, p=tones.p_colour),
        A.ChannelShuffle(p=tones.p_colour),
        A.ToGray(p=tones.p_colour),
    ]
    blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 1.5), p=tones.p_blur)
    return A.Compose([*(colours if has_colour else []), blur])
