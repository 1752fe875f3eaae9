"""Pixels shared by each pair of instances."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def count_overlap(
    true: NDArray[np.int32],
    pred: NDArray[np.int32],
    overlap: NDArray[np.int64],
) -> None:
    """Add one to the pair of ids of every pixel.

    Parameters
    ----------
    true, pred : int32 array, shape (H, W)
        Labels of the same image.
    overlap : int64 array, shape (n_true + 1, n_pred + 1)
        Zeros on entry; ``overlap[i, j]`` ends as the number of pixels with `i` in `true` and `j` in `pred`.

    Notes
    -----
    Must hold: no id is negative or above `n_true`, `n_pred`.
    """
    n_y, n_x = true.shape
    for y in range(n_y):
        for x in range(n_x):
            overlap[true[y, x], pred[y, x]] += 1
