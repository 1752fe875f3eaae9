"""Exact distances to the two nearest instances, in memory proportional to the image.

Strategy
--------
A stack of one distance transform per instance needs gigabytes on a large field of nuclei. Here each column first
learns, for every pixel, its two vertically nearest different instances (one pass down, one up): no third one of that
column can be among the pixel's two nearest. Then every background pixel looks at the columns around it, nearest columns
first, and stops at the column that is farther away than the second nearest instance found so far, or too far to matter.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

# Stands for "none found"; its square plus a square still fits 64 bits.
FAR = 1 << 30


@jit
def scan_two_nearest(
    labels: NDArray[np.int32],
    ids: NDArray[np.int32],
    distances_px: NDArray[np.int64],
) -> None:
    """Find the two vertically nearest different instances of every pixel in its own column.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    ids : int32 array, shape (2, H, W)
        Zeros on entry; filled with the nearest and second nearest id, 0 for none.
    distances_px : int64 array, shape (2, H, W)
        `FAR` on entry; filled with the rows between.
    """
    n_y, n_x = labels.shape
    for x in range(n_x):
        if labels[0, x] != 0:
            ids[0, 0, x] = labels[0, x]
            distances_px[0, 0, x] = 0
    for y in range(1, n_y):
        for x in range(n_x):
            if labels[y, x] != 0:
                _insert(labels[y, x], 0, ids, distances_px, y, x)
            _pass_on(ids, distances_px, y - 1, y, x)
    for y in range(n_y - 2, -1, -1):
        for x in range(n_x):
            _pass_on(ids, distances_px, y + 1, y, x)


@jit
def _pass_on(
    ids: NDArray[np.int32],
    distances_px: NDArray[np.int64],
    source: int,
    y: int,
    x: int,
) -> None:
    """Offer what row `source` knows to the neighbouring row `y`, one pixel farther away."""
    for rank in range(2):
        if ids[rank, source, x] != 0:
            _insert(ids[rank, source, x], distances_px[rank, source, x] + 1, ids, distances_px, y, x)


@jit
def _insert(
    label: int,
    distance: int,
    ids: NDArray[np.int32],
    distances: NDArray[np.int64],
    y: int,
    x: int,
) -> None:
    """Keep the two nearest different labels at a pixel; the one found first stays when distances are equal."""
    if distance < distances[0, y, x]:
        if label != ids[0, y, x]:
            ids[1, y, x] = ids[0, y, x]
            distances[1, y, x] = distances[0, y, x]
        ids[0, y, x] = label
        distances[0, y, x] = distance
    elif label != ids[0, y, x] and distance < distances[1, y, x]:
        ids[1, y, x] = label
        distances[1, y, x] = distance


@jit
def find_two_nearest(
    ids: NDArray[np.int32],
    distances_px: NDArray[np.int64],
    reach_px: float,
    nearest_ids: NDArray[np.int32],
    squares: NDArray[np.int64],
) -> None:
    """Find the squared distances from each background pixel to its nearest and second nearest instance.

    Parameters
    ----------
    ids : int32 array, shape (2, H, W)
        As `scan_two_nearest` fills them.
    distances_px : int64 array, shape (2, H, W)
        As `scan_two_nearest` fills them.
    reach_px : float
        Pairs whose two distances sum to more are not searched for.
    nearest_ids : int32 array, shape (2, H, W)
        Zeros on entry; filled with the ids found.
    squares : int64 array, shape (2, H, W)
        ``FAR * FAR`` on entry; filled with squared distances in px². Left as they are inside instances.
    """
    _, n_y, n_x = ids.shape
    for y in range(n_y):
        for x in range(n_x):
            if distances_px[0, y, x] == 0:
                continue
            for dx in range(n_x):
                # What is found from here on is at least dx away, and so is the nearest one if none was found yet.
                if dx * dx >= squares[1, y, x] or dx + min(dx, sqrt(squares[0, y, x])) > reach_px:
                    break
                for u in (x - dx, x + dx):
                    if 0 <= u < n_x:
                        for rank in range(2):
                            rows = distances_px[rank, y, u]
                            if rows > reach_px:
                                break
                            _insert(ids[rank, y, u], dx * dx + rows * rows, nearest_ids, squares, y, x)
