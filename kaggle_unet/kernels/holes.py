"""Background that one instance surrounds."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

UNKNOWN, NOT_ONE = 0, -1


@jit
def fill_small_holes(
    runs: NDArray[np.int32],
    ids: NDArray[np.int32],
    max_px: int,
    areas: NDArray[np.int64],
    owners: NDArray[np.int32],
    labels: NDArray[np.int32],
) -> None:
    """Give small holes to the instance round them, if it is one alone.

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        Row, start and end of the runs of background.
    ids : int32 array, shape (n_runs,)
        The component of each run, 1…n; background is connected through sides.
    max_px : int
        The largest hole that is filled.
    areas : int64 array, shape (n + 1,)
        Workspace; zeros on entry.
    owners : int32 array, shape (n + 1,)
        Workspace; `UNKNOWN` on entry.
    labels : int32 array, shape (H, W)
        Instances; filled in place.
    """
    n_y, n_x = labels.shape
    for run in range(runs.shape[0]):
        hole, y = ids[run], runs[run, 0]
        start, end = runs[run, 1], runs[run, 2]
        areas[hole] += end - start
        if y == 0 or y == n_y - 1 or start == 0 or end == n_x:
            owners[hole] = NOT_ONE  # it may go on beyond the edge
    for run in range(runs.shape[0]):
        hole, y = ids[run], runs[run, 0]
        if owners[hole] != NOT_ONE and areas[hole] <= max_px:
            for v in range(y - 1, y + 2):
                for x in range(runs[run, 1] - 1, runs[run, 2] + 1):
                    near = labels[v, x]
                    if near > 0 and owners[hole] != near:
                        owners[hole] = near if owners[hole] == UNKNOWN else NOT_ONE
    for run in range(runs.shape[0]):
        hole = ids[run]
        if owners[hole] > 0:
            for x in range(runs[run, 1], runs[run, 2]):
                labels[runs[run, 0], x] = owners[hole]
