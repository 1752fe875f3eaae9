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

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        Row, start and end of the runs of pixels that are looked at, in raster order.
    labels : int32 array, shape (H, W)
        Instances; renumbered in the runs.
    new_ids : int32 array, shape (highest id + 1,)
        On entry 0 for instances that have no new id yet, `DROPPED` for those that become background; filled with the
        new id of each old one. A large image may be renumbered part by part with the same table.
    n : int
        Number of new ids given before.

    Returns
    -------
    int
        Number of new ids given by now.

    Notes
    -----
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
