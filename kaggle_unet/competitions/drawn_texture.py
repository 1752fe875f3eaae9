"""Smooth random fields, the paint that drawn images are made of."""

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Field:
    """Draw Gaussian noise of mean 0 and standard deviation 1 that varies over about `sigma_px` pixels."""
    noise = blur(rng.standard_normal(shape).astype(np.float32), sigma_px)
    return np.asarray((noise - noise.mean()) / (noise.std() + 1e-9), dtype=np.float32)


def blur(field: Field, sigma_px: float) -> Field:
    """Blur with a Gaussian, mirrored at the edge."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT), dtype=np.float32)
