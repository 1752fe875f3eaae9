"""Seeded watershed with one queue per level, first in, first out within a level.

Strategy
--------
The landscape has few levels (bytes), so the priority queue of a textbook watershed is 256 linked lists through one
array of the size of the image: every pixel enters exactly one list, once, which makes the flood linear in the pixels.
Flat ground is flooded breadth-first, so basins that meet there share it evenly. Pixels have
eight neighbours; in which order they are visited makes no difference.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

STEPS_YX = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))

NOBODY = -1


@jit
def flood(
    levels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    following: NDArray[np.int64],
) -> None:
    """Grow seeds over the unlabelled ground, lowest level first.

    Parameters
    ----------
    levels : uint8 array, shape (H, W)
        The landscape.
    labels : int32 array, shape (H, W)
        On entry the seeds' ids, 0 on ground to be flooded, −1 where nothing may flow. Ground that no seed reaches
        through its eight neighbours stays 0.
    heads, tails : int64 array, shape (256,)
        Workspace: first and last pixel of each level's queue; `heads` holds −1 on entry.
    following : int64 array, shape (H * W,)
        Workspace: the pixel queued behind each pixel.

    Notes
    -----
    Basins that reach a pixel at the same time: the one whose seed comes first in raster order takes it.
    """
    n_y, n_x = labels.shape
    lowest = 256
    for y in range(n_y):
        for x in range(n_x):
            if labels[y, x] > 0 and _has_ground(labels, y, x):
                lowest = min(lowest, _queue(y * n_x + x, levels[y, x], heads, tails, following))
    while lowest < 256:
        px = heads[lowest]
        if px == NOBODY:
            lowest += 1
            continue
        heads[lowest] = following[px]
        y, x = px // n_x, px % n_x
        for dy, dx in STEPS_YX:
            v, u = y + dy, x + dx
            if 0 <= v < n_y and 0 <= u < n_x and labels[v, u] == 0:
                labels[v, u] = labels[y, x]
                lowest = min(lowest, _queue(v * n_x + u, levels[v, u], heads, tails, following))


@jit
def _has_ground(labels: NDArray[np.int32], y: int, x: int) -> bool:
    """Tell whether a neighbour of the pixel waits to be flooded."""
    n_y, n_x = labels.shape
    for dy, dx in STEPS_YX:
        v, u = y + dy, x + dx
        if 0 <= v < n_y and 0 <= u < n_x and labels[v, u] == 0:
            return True
    return False


@jit
def _queue(
    px: int,
    level: int,
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    following: NDArray[np.int64],
) -> int:
    """Put a pixel at the end of its level's queue and give the level back."""
    following[px] = NOBODY
    if heads[level] == NOBODY:
        heads[level] = px
    else:
        following[tails[level]] = px
    tails[level] = px
    return int(level)
