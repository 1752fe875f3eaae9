"""Pieces and holes of every instance at once.

Strategy. Pieces are found by union and find over pixels of one id. Pieces minus holes is the Euler number, which is a
sum over all squares of 2 × 2 pixels: 1 for a square with one pixel of the instance, −1 for three, −2 for two that share
only a corner, over 4. So the holes need no search.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def count_parts(
    labels: NDArray[np.int32], parents: NDArray[np.int32], pieces: NDArray[np.int32], quads: NDArray[np.int32]
) -> None:
    """Count the pieces and the Euler number of every instance."""
    n_y, n_x = labels.shape
    for y in range(n_y + 1):
        corner, left = 0, 0
        for x in range(n_x + 1):
            above = int(labels[y - 1, x]) if y > 0 and x < n_x else 0
            own = int(labels[y, x]) if y < n_y and x < n_x else 0
            if own != left or own != above or own != corner:
                # Each id scores by one of its pixels: how many are `beside` it, and whether one is across.
                if own > 0:
                    beside = int(left == own) + int(above == own)
                    quads[own] += 1 - beside + int(corner == own) * (2 * beside - 3)
                if left > 0 and left != own:
                    beside = int(corner == left)
                    quads[left] += 1 - beside + int(above == left) * (2 * beside - 3)
                if above > 0 and above != own and above != left:  # noqa: PLR1714  (tuples take the compiler longer)
                    quads[above] += 1 - int(corner == above)
                if corner > 0 and corner != own and corner != left and corner != above:  # noqa: PLR1714
                    quads[corner] += 1
            if own > 0:
                here = one = y * n_x + x
                right = int(labels[y - 1, x + 1]) if y > 0 and x + 1 < n_x else 0
                if above == own:  # whatever else is near is a neighbour of the pixel above
                    one = here - n_x
                elif left == own:
                    one = here - 1
                elif corner == own:
                    one = here - n_x - 1
                elif right == own:
                    one = here - n_x + 1
                else:
                    pieces[own] += 1
                parents[here] = here
                parents[here] = parents[one]
                if right == own and above != own:  # two pieces may meet here
                    other = here - n_x + 1
                    while parents[one] != one:
                        parents[one] = parents[parents[one]]
                        one = int(parents[one])
                    while parents[other] != other:
                        parents[other] = parents[parents[other]]
                        other = int(parents[other])
                    if one < other:
                        parents[other] = one
                    elif other < one:
                        parents[one] = other
                    pieces[own] -= int(one != other)
            corner, left = above, own
