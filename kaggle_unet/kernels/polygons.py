"""Outlines of labels along the edges of their pixels."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

# East, south, west, north: one step forward, and the corner of a pixel at which its top, right, bottom, left side ends.
_FORWARD = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
_CORNER = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])


@jit
def trace_rings(
    pieces: NDArray[np.int32],
    seen: NDArray[np.bool_],
    vertices: NDArray[np.int32],
    firsts: NDArray[np.int64],
    ids: NDArray[np.int32],
) -> int:
    """Follow every outline clockwise, write its corners (x, y), and return the number of rings.

    Must hold: pieces are 4-connected and framed by zeros, no top side is seen yet. A piece's first ring is its outer
    one, the others are holes. Where a piece meets itself only at a corner, the ring turns left, across the corner, so
    that no ring passes a point twice.
    """
    n = n_rings = 0
    firsts[0] = 0
    for top in range(1, pieces.shape[0] - 1):
        for left in range(1, pieces.shape[1] - 1):
            piece = pieces[top, left]
            if piece == 0 or pieces[top - 1, left] == piece or seen[top, left]:
                continue
            y, x, way = top, left, 0
            while True:
                if way == 0:
                    seen[y, x] = True
                ahead_y, ahead_x = y + _FORWARD[way, 0], x + _FORWARD[way, 1]
                left_y, left_x = ahead_y + _FORWARD[way - 1, 0], ahead_x + _FORWARD[way - 1, 1]
                if pieces[left_y, left_x] != piece and pieces[ahead_y, ahead_x] == piece:
                    y, x = ahead_y, ahead_x
                    continue
                vertices[n, 0], vertices[n, 1] = x + _CORNER[way, 1] - 1, y + _CORNER[way, 0] - 1
                n += 1
                if pieces[left_y, left_x] == piece:
                    y, x, way = left_y, left_x, (way + 3) % 4
                else:
                    way = (way + 1) % 4
                if way == 0 and y == top and x == left:
                    break
            ids[n_rings] = piece
            n_rings += 1
            firsts[n_rings] = n
    return n_rings
