"""Exact distances to the two nearest instances, in memory proportional to the image.

Strategy
--------
A stack of one distance transform per instance needs gigabytes on a large field of nuclei. Here each column first
learns, for every pixel, how far up or down its nearest instance is and how far the nearest other one: one pass down,
one pass up. Then every pixel looks at the columns around it, once for the nearest instance and once for the nearest
other one, and needs no third value per column: if the column's nearest is the pixel's own nearest, its other counts.

Rows are worked on in blocks of pixels that all look at the same distance left and right, without branches, so that the
compiler turns the loops into vector instructions; a block stops when nothing nearer can come. Small integers make those
instructions fast, so distances beyond `reach_px` are all the same number, ``int(reach_px) + 1``.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

BLOCK_PX = 128

Integers = NDArray[np.signedinteger[Any]]


@jit
def scan_down(labels: NDArray[np.int32], reach_px: float, ids: NDArray[np.int32], rows: Integers) -> None:
    """Find, for every pixel, the nearest instance at or above it in its column and the distance to the nearest other.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    reach_px : float
        Longer distances are not told apart.
    ids : int32 array, shape (H, W)
        Filled with the nearest id, 0 for none.
    rows : integer array, shape (2, H, W)
        Filled with the rows between: to the nearest, and to the nearest with another id.
    """
    n_y, n_x = labels.shape
    far = rows.dtype.type(int(reach_px) + 1)
    if n_y == 0:
        return
    for x in range(n_x):
        ids[0, x] = labels[0, x]
        rows[0, 0, x] = 0 if labels[0, x] != 0 else far
        rows[1, 0, x] = far
    for y in range(1, n_y):
        for x in range(n_x):
            ids[y, x], rows[0, y, x], rows[1, y, x] = ids[y - 1, x], rows[0, y - 1, x], rows[1, y - 1, x]
        _step(labels[y], far, ids[y], rows[0, y], rows[1, y])


@jit
def _step(
    labels: NDArray[np.int32], far: np.signedinteger[Any], ids: NDArray[np.int32], near: Integers, other: Integers
) -> None:
    """Take what is known of every column one row farther."""
    for x in range(labels.shape[0]):
        label, known = labels[x], ids[x]
        to_near, to_other = near[x] + 1, other[x] + 1
        to_other = to_near if label != 0 and label != known else to_other  # noqa: PLR1714
        near[x] = 0 if label != 0 else min(to_near, far)
        other[x] = min(to_other, far)
        ids[x] = label if label != 0 else known


@jit
def find_two_nearest(
    labels: NDArray[np.int32],
    reach_px: float,
    ids: NDArray[np.int32],
    rows: Integers,
    below_ids: NDArray[np.int32],
    below: Integers,
    row_ids: NDArray[np.int32],
    row: Integers,
    block_ids: NDArray[np.int32],
) -> None:
    """Find the squared distances from each background pixel to its nearest and second nearest instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    reach_px : float
        Pairs whose two distances sum to more are not searched for.
    ids : int32 array, shape (H, W)
        As `scan_down` fills it.
    rows : integer array, shape (2, H, W)
        On entry as `scan_down` fills it. Filled with squared distances in px², exact where the distances sum to at most
        `reach_px`; elsewhere, and inside instances, their roots sum to more.
    below_ids, below : int32 array, shape (W,), and integer array, shape (2, W)
        Workspace: the same for the rows below; zeros, and ``int(reach_px) + 1``, on entry.
    row_ids, row : int32 array, shape (W + 2 · margin,), and integer array, shape (2, W + 2 · margin)
        Workspace: both for one row, squared, with a margin left and right, `reach_px` or the image's width, that
        holds zeros, and ``(int(reach_px) + 1)²``, on entry.
    block_ids : int32 array, shape (`BLOCK_PX`,)
        Workspace.

    Notes
    -----
    Must hold: the integers of `rows` and `row` can hold ``2 · (int(reach_px) + 1)²``.
    """
    n_y, n_x = labels.shape
    far = rows.dtype.type(int(reach_px) + 1)
    margin = (row_ids.shape[0] - n_x) // 2
    inner = slice(margin, margin + n_x)
    for y in range(n_y - 1, -1, -1):
        _step(labels[y], far, below_ids, below[0], below[1])
        _join(
            ids[y], rows[0, y], rows[1, y], below_ids, below[0], below[1], row_ids[inner], row[0, inner], row[1, inner]
        )
        for left in range(0, n_x, BLOCK_PX):
            here = slice(left, min(left + BLOCK_PX, n_x))  # what the row held is in `row` by now
            _search(row_ids, row[0], row[1], margin, left, reach_px, block_ids, rows[0, y, here], rows[1, y, here])


@jit
def _join(
    ids: NDArray[np.int32],
    near: Integers,
    other: Integers,
    below_ids: NDArray[np.int32],
    below_near: Integers,
    below_other: Integers,
    row_ids: NDArray[np.int32],
    row_near: Integers,
    row_other: Integers,
) -> None:
    """Join what is known from above and from below a row, as squares."""
    to_integer = row_near.dtype.type
    for x in range(ids.shape[0]):
        one, two = ids[x], below_ids[x]
        to_one, to_two = near[x], below_near[x]
        past_one, past_two = other[x], below_other[x]
        is_below = to_two < to_one
        nearest = to_two if is_below else to_one
        # The other side's nearest is another instance, or else both sides' others are.
        second = past_two if is_below else past_one
        across = (past_one if is_below else past_two) if one == two else (to_one if is_below else to_two)
        second = min(second, across)
        row_ids[x] = two if is_below else one
        row_near[x] = to_integer(nearest * nearest)
        row_other[x] = to_integer(second * second)


@jit
def _search(
    row_ids: NDArray[np.int32],
    row_near: Integers,
    row_other: Integers,
    margin: int,
    left: int,
    reach_px: float,
    best_ids: NDArray[np.int32],
    best: Integers,
    second: Integers,
) -> None:
    """Find both squares of the block of pixels that starts at column `left`."""
    start = margin + left
    n = best.shape[0]
    to_integer = best.dtype.type
    far = to_integer((int(reach_px) + 1) ** 2)
    for px in range(n):
        best_ids[px], best[px], second[px] = row_ids[start + px], row_near[start + px], far
    half = min(margin, int(reach_px / 2))  # of a pair within reach, the nearer one
    limit = to_integer(reach_px * reach_px / 4)
    if _lowest(row_near[start - half : start + n + half]) > limit:
        return
    for step in range(1, half + 1):
        if step * step >= _highest(best):
            break
        _look_for_nearest(row_ids, row_near, start, step, best_ids, best)
    least = far
    for px in range(n):
        square = best[px]
        is_wanted = (square > 0) & (square <= limit)
        second[px] = far if is_wanted else to_integer(0)  # no pixel that is not wanted keeps the others waiting
        square = square if is_wanted else far
        least = square if square < least else least
    last = min(margin, int(reach_px - sqrt(least))) if least < far else -1
    for step in range(last + 1):
        if step * step >= _highest(second):
            break
        _look_for_other(row_ids, row_near, row_other, start, step, best_ids, second)
    for px in range(n):
        found = second[px]
        second[px] = found if found != 0 else far


@jit
def _highest(squares: Integers) -> int:
    """Find the largest."""
    highest = squares[0]
    for px in range(squares.shape[0]):
        highest = squares[px] if squares[px] > highest else highest
    return int(highest)


@jit
def _lowest(squares: Integers) -> int:
    """Find the smallest."""
    lowest = squares[0]
    for px in range(squares.shape[0]):
        lowest = squares[px] if squares[px] < lowest else lowest
    return int(lowest)


@jit
def _look_for_nearest(
    row_ids: NDArray[np.int32],
    row_near: Integers,
    start: int,
    step: int,
    best_ids: NDArray[np.int32],
    best: Integers,
) -> None:
    """Offer every pixel of a block the nearest instances of the two columns that are a step away."""
    n = best.shape[0]
    to_integer = best.dtype.type
    step_square = to_integer(step * step)
    one, two = start - step, start + step
    left_ids, left_near = row_ids[one : one + n], row_near[one : one + n]
    right_ids, right_near = row_ids[two : two + n], row_near[two : two + n]
    for px in range(n):
        known, label = best[px], best_ids[px]
        # Everything is loaded before anything is chosen: a load that depends on a choice is not vectorised.
        from_left, from_right, left_id, right_id = left_near[px], right_near[px], left_ids[px], right_ids[px]
        offered = from_left if from_left < from_right else from_right
        offered_id = left_id if from_left < from_right else right_id
        square = to_integer(offered + step_square)
        best_ids[px] = offered_id if square < known else label
        best[px] = square if square < known else known


@jit
def _look_for_other(
    row_ids: NDArray[np.int32],
    row_near: Integers,
    row_other: Integers,
    start: int,
    step: int,
    best_ids: NDArray[np.int32],
    second: Integers,
) -> None:
    """Offer every pixel of a block what the columns that are a step away know beside the pixel's nearest instance."""
    n = second.shape[0]
    to_integer = second.dtype.type
    step_square = to_integer(step * step)
    one, two = start - step, start + step
    left_ids, left_near, left_other = row_ids[one : one + n], row_near[one : one + n], row_other[one : one + n]
    right_ids, right_near, right_other = row_ids[two : two + n], row_near[two : two + n], row_other[two : two + n]
    for px in range(n):
        label, known = best_ids[px], second[px]
        near_one, other_one, near_two, other_two = left_near[px], left_other[px], right_near[px], right_other[px]
        from_left = other_one if left_ids[px] == label else near_one
        from_right = other_two if right_ids[px] == label else near_two
        nearer = from_left if from_left < from_right else from_right
        square = to_integer(nearer + step_square)
        second[px] = square if square < known else known


@jit
def exponents(squares: Integers, factor: float, reach_px: float, out: NDArray[np.float32]) -> None:
    """Write factor · (d1 + d2)², and −∞ where the distances sum to more than the reach.

    Parameters
    ----------
    squares : integer array, shape (2, H, W)
        As `find_two_nearest` fills them.
    factor : float
        In px⁻².
    reach_px : float
        The one given there.
    out : float32 array, shape (H, W)
        Filled.
    """
    n_y, n_x = out.shape
    for y in range(n_y):
        for x in range(n_x):
            distance = sqrt(np.float32(squares[0, y, x])) + sqrt(np.float32(squares[1, y, x]))
            out[y, x] = factor * distance * distance if distance <= reach_px else np.float32(-np.inf)
