"""Ids in the order in which they first appear."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def renumber_by_appearance(labels: NDArray[np.int32], new_ids: NDArray[np.int32]) -> None:
    """Renumber labels in place, in raster order of the instances' first pixels.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n; renumbered.
    new_ids : int32 array, shape (n + 1,)
        Zeros on entry; filled with the new id of each old one.

    Notes
    -----
    Must hold: no id is negative or above `n`.
    """
    n_y, n_x = labels.shape
    n = 0
    for y in range(n_y):
        for x in range(n_x):
            old = labels[y, x]
            if old != 0:
                if new_ids[old] == 0:
                    n += 1
                    new_ids[old] = n
                labels[y, x] = new_ids[old]
