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
    """Count the pieces and the Euler number of every instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    parents : int32 array, shape (H·W,)
        Scratch.
    pieces : int32 array, shape (n + 1,)
        Zeros, filled with the number of 8-connected components of each id.
    quads : int32 array, shape (n + 1,)
        Zeros, filled with four times the number of pieces less holes (4-connected regions that the id encloses).

    References
    ----------
    .. [1] Gray, Local properties of binary images in two dimensions, IEEE Transactions on Computers C-20 (1971) 551-561
    """
    n_y, n_x = labels.shape
    for y in range(n_y + 1):
        corner, left = 0, 0
        for x in range(n_x + 1):
            above = int(labels[y - 1, x]) if y > 0 and x < n_x else 0
            own = int(labels[y, x]) if y < n_y and x < n_x else 0
            if own != left or own != above or own != corner:
                if own > 0:
                    quads[own] += _quad(left == own, above == own, corner == own)
                if left > 0 and left != own:
                    quads[left] += _quad(corner == left, False, above == left)
                if above > 0 and above not in (own, left):
                    quads[above] += _quad(corner == above, False, False)
                if corner > 0 and corner not in (own, left, above):
                    quads[corner] += 1
            if own > 0:
                here = y * n_x + x
                right = int(labels[y - 1, x + 1]) if y > 0 and x + 1 < n_x else 0
                parents[here] = here
                if above == own:  # whatever else is near is a neighbour of the pixel above
                    parents[here] = parents[here - n_x]
                elif own in (left, corner):
                    parents[here] = parents[here - 1] if left == own else parents[here - n_x - 1]
                    if right == own:
                        pieces[own] -= _join(here, here - n_x + 1, parents)
                elif right == own:
                    parents[here] = parents[here - n_x + 1]
                else:
                    pieces[own] += 1
            corner, left = above, own


@jit
def _quad(beside: bool, other_beside: bool, across: bool) -> int:
    """Score a square that holds a pixel of an id, by which of the others are of it too."""
    n = beside + other_beside + across
    if n == 1:
        return -2 if across else 0
    return 1 if n == 0 else -1 if n == 2 else 0


@jit
def _join(one: int, other: int, parents: NDArray[np.int32]) -> int:
    """Make two pieces one; 1 if they weren't."""
    while parents[one] != one:
        parents[one] = parents[parents[one]]
        one = parents[one]
    while parents[other] != other:
        parents[other] = parents[parents[other]]
        other = parents[other]
    if one == other:
        return 0
    parents[max(one, other)] = min(one, other)
    return 1
