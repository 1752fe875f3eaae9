"""Pixels per id, and other ids for them."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def count_areas(ids: NDArray[np.int32], areas: NDArray[np.int64]) -> None:
    """Count the pixels of every id.

    Must hold: no id is negative or above `n`.
    """
    n_px = ids.shape[0]
    px = 0
    while px < n_px:  # run by run: adding to the same number pixel by pixel would wait for memory each time
        here = ids[px]
        start = px
        while px < n_px and ids[px] == here:
            px += 1
        areas[here] += px - start


@jit
def replace_ids(ids: NDArray[np.int32], new_ids: NDArray[np.int32], replaced: NDArray[np.int32]) -> None:
    """Look up every pixel's new id.

    Must hold: no id is negative or above `n`.
    """
    for px in range(ids.shape[0]):
        replaced[px] = new_ids[ids[px]]
