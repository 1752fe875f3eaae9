"""Exact distances to the two nearest instances, in memory proportional to the image.

Strategy. A stack of one distance transform per instance needs gigabytes on a large field of nuclei. Here each column
first learns, for every pixel, how far up or down its nearest instance is and how far the nearest other one: one pass
down, one pass up. Then every pixel looks at the columns around it, once for the nearest instance and once for the
nearest other one, and needs no third value per column: if the column's nearest is the pixel's own nearest, its other
counts.

Rows are worked on in blocks of pixels that all look at the same distance left and right, without branches, so that the
compiler turns the loops into vector instructions; a block stops when nothing nearer can follow. Small integers make
those instructions fast, so distances beyond `reach_px` are all stored as the same number, ``int(reach_px) + 1``.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

BLOCK_PX = 128

Integers = NDArray[np.signedinteger[Any]]


@jit
def scan_columns(
    labels: NDArray[np.int32],
    first: int,
    step: int,
    reach_px: float,
    seen_ids: NDArray[np.int32],
    seen: Integers,
    ids: NDArray[np.int32],
    rows: Integers,
) -> int:
    """Scan all columns up or down for the nearest instance, and the nearest other one; return all ids, or-ed."""
    n_y, n_x = labels.shape
    all_ids = np.int32(0)
    to_integer = rows.dtype.type
    far, one_row = to_integer(int(reach_px) + 1), to_integer(1)
    for x in range(n_x):
        seen_ids[x], seen[0, x], seen[1, x] = 0, far, far
    for y in range(first, first + n_y * step, step):
        for x in range(n_x):
            label, behind = labels[y, x], seen_ids[x]
            all_ids = np.int32(all_ids | label)
            to_near, to_other = to_integer(seen[0, x] + one_row), to_integer(seen[1, x] + one_row)
            to_other = to_near if (label != 0) & (label != behind) else to_other
            to_other = to_other if to_other < far else far
            to_near = to_near if to_near < far else far
            to_near = to_integer(0) if label != 0 else to_near
            behind = label if label != 0 else behind
            seen_ids[x] = behind
            seen[0, x] = to_near
            seen[1, x] = to_other
            known, to_known, past_known = ids[y, x], rows[0, y, x], rows[1, y, x]
            is_nearer = to_near < to_known
            # The other direction's nearest is another instance, or else both directions' others are.
            second = to_other if is_nearer else past_known
            across = to_known if is_nearer else to_near
            past = past_known if is_nearer else to_other
            across = past if known == behind else across
            ids[y, x] = behind if is_nearer else known
            rows[0, y, x] = to_near if is_nearer else to_known
            rows[1, y, x] = across if across < second else second
    return int(all_ids)


@jit
def find_two_nearest(
    labels: NDArray[np.int32],
    reach_px: float,
    seen_ids: NDArray[np.int32],
    seen: Integers,
    ids: NDArray[np.int32],
    rows: Integers,
    row_ids: NDArray[np.int32],
    row: Integers,
    block_ids: NDArray[np.int32],
) -> int:
    """Find the squared distances from each background pixel to its nearest and second nearest instance.

    Returns all ids or-ed, which is below 0 if one of them is.

    Must hold: the integers of `rows` and `row` can hold ``2 · (int(reach_px) + 1)²``.
    """
    n_y, n_x = ids.shape
    all_ids = scan_columns(labels, 0, 1, reach_px, seen_ids, seen, ids, rows)  # down, then up
    scan_columns(labels, n_y - 1, -1, reach_px, seen_ids, seen, ids, rows)
    margin = (row_ids.shape[0] - n_x) // 2
    row_near, row_other = row[0], row[1]
    to_integer = rows.dtype.type
    far, limit = to_integer((int(reach_px) + 1) * (int(reach_px) + 1)), to_integer(reach_px * reach_px / 4)
    half = int(reach_px / 2)  # of a pair within reach, the nearer one
    half = half if half < margin else margin
    for y in range(n_y):
        for x in range(n_x):
            row_ids[margin + x] = ids[y, x]
            row_near[margin + x] = rows[0, y, x] * rows[0, y, x]
            row_other[margin + x] = rows[1, y, x] * rows[1, y, x]
        for left in range(0, n_x, BLOCK_PX):  # what the row held is in `row` by now
            start = margin + left
            best, second = rows[0, y, left : left + BLOCK_PX], rows[1, y, left : left + BLOCK_PX]
            n = best.shape[0]
            for px in range(n):
                block_ids[px] = row_ids[start + px]
                best[px] = row_near[start + px]
                second[px] = far
            around = row_near[start - half : start + n + half]
            lowest = highest = far
            for px in range(around.shape[0]):
                lowest = around[px] if around[px] < lowest else lowest
            if lowest > limit:
                continue
            for step in range(1, half + 1):  # the nearest instances of the two columns that are a step away
                if step * step >= highest:
                    break
                one, two = start - step, start + step
                step_square, highest = to_integer(step * step), to_integer(0)
                left_ids, left_near = row_ids[one : one + n], row_near[one : one + n]
                right_ids, right_near = row_ids[two : two + n], row_near[two : two + n]
                for px in range(n):
                    known, label = best[px], block_ids[px]
                    # All is loaded before anything is chosen: a load that depends on a choice is not vectorised.
                    from_left, from_right = left_near[px], right_near[px]
                    left_id, right_id = left_ids[px], right_ids[px]
                    offered = from_left if from_left < from_right else from_right
                    offered_id = left_id if from_left < from_right else right_id
                    square = to_integer(offered + step_square)
                    block_ids[px] = offered_id if square < known else label
                    square = square if square < known else known
                    best[px] = square
                    highest = square if square > highest else highest
            least = far
            for px in range(n):
                square = best[px]
                is_wanted = (square > 0) & (square <= limit)
                second[px] = far if is_wanted else to_integer(0)  # those not wanted do not keep the loop going
                square = square if is_wanted else far
                least = square if square < least else least
            last = int(reach_px - sqrt(least)) if least < far else -1
            last = last if last < margin else margin
            highest = far
            for step in range(last + 1):  # what those columns know besides the pixel's nearest instance
                if step * step >= highest:
                    break
                one, two = start - step, start + step
                step_square, highest = to_integer(step * step), to_integer(0)
                left_ids, left_near = row_ids[one : one + n], row_near[one : one + n]
                right_ids, right_near = row_ids[two : two + n], row_near[two : two + n]
                left_other, right_other = row_other[one : one + n], row_other[two : two + n]
                for px in range(n):
                    label, known = block_ids[px], second[px]
                    near_one, near_two = left_near[px], right_near[px]
                    other_one, other_two = left_other[px], right_other[px]
                    from_left = other_one if left_ids[px] == label else near_one
                    from_right = other_two if right_ids[px] == label else near_two
                    nearer = from_left if from_left < from_right else from_right
                    square = to_integer(nearer + step_square)
                    square = square if square < known else known
                    second[px] = square
                    highest = square if square > highest else highest
            for px in range(n):
                second[px] = second[px] if second[px] != 0 else far
    return all_ids


@jit
def exponents(squares: Integers, factor: float, reach_px: float, out: NDArray[np.float32]) -> None:
    """Write factor · (d1 + d2)², and −∞ where the distances sum to more than the reach."""
    n_y, n_x = out.shape
    for y in range(n_y):
        for x in range(n_x):
            distance = sqrt(np.float32(squares[0, y, x])) + sqrt(np.float32(squares[1, y, x]))
            out[y, x] = factor * distance * distance if distance <= reach_px else np.float32(-np.inf)
