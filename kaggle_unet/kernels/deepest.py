"""The deepest pixel of instances: the one farthest from anything else."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

# More than any column has pixels: nothing else is in it.
FAR = 2**30
# What `survey_marks` finds of an instance, added up.
SEEN, FREE = 1, 2


@jit
def survey_marks(labels: NDArray[np.int32], marked: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
    """Find out which instances are there, and which have a pixel that isn't marked."""
    n_y, n_x = labels.shape
    last_label, last_mark = -1, -1
    for y in range(n_y):
        for x in range(n_x):
            label, mark = int(labels[y, x]), int(marked[y, x])
            if label != last_label or mark != last_mark:  # most pixels are like the one before, and need no writing
                found[label] |= SEEN if mark else SEEN + FREE
                last_label, last_mark = label, mark


@jit
def find_deepest(
    labels: NDArray[np.int32],
    is_wanted: NDArray[np.bool_],
    steps: NDArray[np.int32],
    squares: NDArray[np.int64],
    places: NDArray[np.int64],
) -> None:
    """Find the pixel of each wanted instance that is farthest from the nearest foreign one.

    Each column is scanned up and down for the nearest foreign pixel in it. Along its row, each pixel then looks no
    farther than it is deep: 45 px for what a border of 32 px covers.
    """
    n_y, n_x = labels.shape
    for y in range(n_y):
        for x in range(n_x):
            is_foreign = y > 0 and labels[y - 1, x] != labels[y, x]
            steps[y, x] = 1 if is_foreign else steps[y - 1, x] + 1 if y > 0 and steps[y - 1, x] < FAR else FAR
    for y in range(n_y - 2, -1, -1):
        for x in range(n_x):
            beyond = 1 if labels[y + 1, x] != labels[y, x] else int(steps[y + 1, x]) + 1
            steps[y, x] = beyond if beyond < steps[y, x] else steps[y, x]
    for y in range(n_y):
        for x in range(n_x):
            label = labels[y, x]
            if not is_wanted[label]:
                continue
            nearest = int(steps[y, x]) * int(steps[y, x])
            for side in range(-1, 2, 2):
                near, off = x + side, 1
                while near >= 0 and near < n_x and off * off < nearest:
                    step = int(steps[y, near]) if labels[y, near] == label else 0
                    square = off * off + step * step
                    nearest = square if square < nearest else nearest
                    near, off = near + side, off + 1
            if nearest > squares[label]:
                squares[label] = nearest
                places[label] = y * n_x + x
