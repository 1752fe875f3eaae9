"""Gray levels that are stretched, bent and made noisy, measured in an image's own range."""

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.inputs import Levels
from kaggle_unet.types import Image

# Where levels of 0 and 1 lie after a stretch, with room for brighter pixels and noise.
STRETCHED = (32.0, 224.0)


def stretch_levels(image: Image, levels: Levels) -> tuple[Image, Levels]:
    """Spread a dark image over more gray levels.

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


def bend_levels(*, contrast: float, brightness: float, gamma: float, levels: Levels) -> NDArray[np.uint8]:
    """List what gray levels become when levels x are mapped to contrast · xᵞ + brightness.

    >>> image = np.array([[10, 35, 60, 110]], np.uint8)
    >>> bend_levels(contrast=1.0, brightness=0.5, gamma=2.0, levels=(10, 110))[image]
    array([[ 60,  66,  85, 160]], dtype=uint8)
    """
    low, high = levels
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
