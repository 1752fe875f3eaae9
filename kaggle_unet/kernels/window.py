"""Highest and lowest id in a square window, as two passes: along the columns, then along the rows.

A window of (2·radius + 1)² pixels costs 2·(2·radius + 1) steps per pixel instead of its area. It is cut at the image's
edge.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def scan_columns(
    high: NDArray[np.int32],
    low: NDArray[np.int32],
    radius: int,
    highest: NDArray[np.int32],
    lowest: NDArray[np.int32],
) -> None:
    """Take the maximum of `high` and the minimum of `low` over `radius` pixels up and down.

    Parameters
    ----------
    high, low : int32 array, shape (H, W)
        What is searched.
    radius : int
        How far the window reaches to either side.
    highest, lowest : int32 array, shape (H, W)
        Filled; other arrays than `high` and `low`.
    """
    n_y, n_x = high.shape
    for y in range(n_y):
        for x in range(n_x):
            highest[y, x] = high[y, x]
            lowest[y, x] = low[y, x]
        for near in range(max(0, y - radius), min(n_y, y + radius + 1)):
            for x in range(n_x):
                highest[y, x] = max(highest[y, x], high[near, x])
                lowest[y, x] = min(lowest[y, x], low[near, x])


@jit
def scan_rows(
    high: NDArray[np.int32],
    low: NDArray[np.int32],
    radius: int,
    highest: NDArray[np.int32],
    lowest: NDArray[np.int32],
) -> None:
    """Take the maximum of `high` and the minimum of `low` over `radius` pixels left and right.

    Parameters
    ----------
    high, low : int32 array, shape (H, W)
        What is searched.
    radius : int
        How far the window reaches to either side.
    highest, lowest : int32 array, shape (H, W)
        Filled; other arrays than `high` and `low`.
    """
    n_y, n_x = high.shape
    for y in range(n_y):
        for x in range(n_x):
            top = high[y, x]
            bottom = low[y, x]
            for near in range(max(0, x - radius), min(n_x, x + radius + 1)):
                top = max(top, high[y, near])
                bottom = min(bottom, low[y, near])
            highest[y, x] = top
            lowest[y, x] = bottom
