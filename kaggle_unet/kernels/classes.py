"""What planes say of every pixel: whether it is outside, ground or a seed, and how high it lies."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

OUTSIDE, GROUND, SEED = 0, 1, 2
HIGHEST = 255


@jit
def classify(
    inside: NDArray[np.float32],
    core: NDArray[np.float32],
    border: NDArray[np.float32],
    thresholds: tuple[np.float32, np.float32, np.float32],
    inside_share: np.float32,
    height_share: np.float32,
    classes: NDArray[np.uint8],
    levels: NDArray[np.uint8],
) -> None:
    """Compare planes with their thresholds and measure the ground, all in one pass."""
    n_y, n_x = core.shape
    inside_above, core_above, border_at_most = thresholds
    one = np.float32(1)
    scale = one / (one + height_share)
    for y in range(n_y):
        for x in range(n_x):
            is_inside = inside[y, x] + inside_share * border[y, x] > inside_above
            is_seed = is_inside & (core[y, x] > core_above) & (border[y, x] <= border_at_most)
            classes[y, x] = np.uint8(is_inside) + np.uint8(is_seed)
            height = (one - core[y, x] + height_share * border[y, x]) * scale
            height = height if height > 0 else np.float32(0)
            height = height if height < one else one
            levels[y, x] = np.uint8(np.rint(height * np.float32(HIGHEST)))
