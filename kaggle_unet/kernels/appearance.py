"""Ids in the order in which they first appear."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

DROPPED = -1


@jit
def renumber_by_appearance(
    runs: NDArray[np.int32], labels: NDArray[np.int32], new_ids: NDArray[np.int32], n: int
) -> int:
    """Renumber labels in place, in raster order of the instances' first pixels.

    Must hold: no id is negative or has no place in `new_ids`.
    """
    old = new = np.int32(0)
    for run in range(runs.shape[0]):
        y = runs[run, 0]
        for x in range(runs[run, 1], runs[run, 2]):
            if labels[y, x] != old:
                old = labels[y, x]
                new = new_ids[old]
                if old != 0 and new == 0:
                    n += 1
                    new = np.int32(n)
                    new_ids[old] = new
                if new < 0:
                    new = np.int32(0)
            labels[y, x] = new
    return n
