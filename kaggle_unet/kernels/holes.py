"""Background that one instance surrounds."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

UNKNOWN, NOT_ONE = 0, -1


@jit
def measure_holes(
    runs: NDArray[np.int32], ids: NDArray[np.int32], shape: tuple[int, int], areas: NDArray[np.int64]
) -> None:
    """Count the pixels of background components that end within the image.

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        Row, start and end of the runs of background.
    ids : int32 array, shape (n_runs,)
        The component of each run, 1…n.
    shape : tuple of int
        (H, W) of the image.
    areas : int64 array, shape (n + 1,)
        Zeros on entry; filled with pixels, some number below zero for components that reach the image's edge.
    """
    n_y, n_x = shape
    for run in range(runs.shape[0]):
        y, start, end = runs[run, 0], runs[run, 1], runs[run, 2]
        if min(y, start) == 0 or y == n_y - 1 or end == n_x:
            areas[ids[run]] = -n_y * n_x - 1  # too low for the other runs to bring it back to 0
        areas[ids[run]] += end - start


@jit
def fill_small_holes(
    runs: NDArray[np.int32],
    ids: NDArray[np.int32],
    areas: NDArray[np.int64],
    max_px: int,
    owners: NDArray[np.int32],
    labels: NDArray[np.int32],
) -> None:
    """Give small holes to the instance round them, if it is one alone.

    Parameters
    ----------
    runs, ids, areas : array
        As `measure_holes` takes and fills them; background is connected through sides.
    max_px : int
        The largest hole that is filled.
    owners : int32 array, shape (n + 1,)
        Workspace; zeros on entry.
    labels : int32 array, shape (H, W)
        Instances; filled in place.
    """
    for run in range(runs.shape[0]):
        hole = ids[run]
        if not 0 < areas[hole] <= max_px:
            continue
        y, start, end = runs[run, 0], runs[run, 1], runs[run, 2]
        for v in range(y - 1, y + 2):
            for x in range(start - 1, end + 1):
                near = labels[v, x]
                if near > 0 and owners[hole] == UNKNOWN:
                    owners[hole] = near
                elif near > 0 and owners[hole] != near:
                    owners[hole] = NOT_ONE
    for run in range(runs.shape[0]):
        hole = ids[run]
        if 0 < areas[hole] <= max_px and owners[hole] > 0:
            for x in range(runs[run, 1], runs[run, 2]):
                labels[runs[run, 0], x] = owners[hole]
