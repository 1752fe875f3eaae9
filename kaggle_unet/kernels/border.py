"""Pixels whose window holds two different ids.

Strategy. A window's highest and lowest id differ where it holds two; the lowest is kept as the highest negative. Both
are taken along the columns first, then along the rows, in loops over x that run on vector registers. Down the columns,
images are cut into blocks of as many rows as the window has: every window is the tail of one block and the head of the
next (van Herk), so each pixel is read three times for any radius. Along a row, windows of 1, 2, 4, 8… pixels
are joined, two by two.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

NO_ID = np.iinfo(np.int32).max


@jit
def mark_near(
    labels: NDArray[np.int32],
    radius: int,
    with_background: bool,
    value: int,
    rows: NDArray[np.int32],
    marked: NDArray[np.uint8],
) -> int:
    """Mark with a value the pixels whose window holds two different ids; return all ids or-ed, below 0 if one is.

    Must hold: the scratch `rows` are ``2 · radius + 6`` of ``2 · (W + 2 · radius)`` places.
    """
    n_y, n_x = labels.shape
    side, width = 2 * radius + 1, n_x + 2 * radius
    nothing = np.int32(0 if with_background else -NO_ID)
    least, all_ids = 1 if with_background else 0, np.int32(0)
    tails, spread, pair = rows[: side + 1], rows[side + 1 : side + 4], rows[side + 4]
    for x in range(width):
        pair[x], pair[width + x] = 0, -NO_ID
        tails[side, x], tails[side, width + x] = 0, -NO_ID
    # Slices, as an index with an offset might be negative, and such loops do not become vector instructions.
    positive, negative = pair[radius:], pair[width + radius :]
    for y in range(n_y - radius if n_y > radius else 0, n_y):  # rows that may be in no tail
        for x in range(n_x):
            all_ids = np.int32(all_ids | labels[y, x])
    for top in range(0, n_y, side):
        for i in range(side - 1, -1, -1):
            # Rows beyond the edge are the one at the edge, which lies in all windows that reach so far.
            y = top - radius + i if top - radius + i > 0 else 0
            own = labels[y if y < n_y else n_y - 1]
            for x in range(n_x):
                positive[x] = own[x]
                negative[x] = -own[x] if own[x] > 0 else nothing
                all_ids = np.int32(all_ids | own[x])
            tail, after = tails[i], tails[i + 1]
            for x in range(pair.shape[0]):
                tail[x] = after[x] if after[x] > pair[x] else pair[x]
        head = tails[side - 1]  # the block's last row is the first of all heads, and lies in all windows of the block
        for i in range(side if top + side < n_y else n_y - top):
            if i > 0:
                own = labels[top + radius + i if top + radius + i < n_y else n_y - 1]
                for x in range(n_x):
                    positive[x] = own[x]
                    negative[x] = -own[x] if own[x] > 0 else nothing
                for x in range(pair.shape[0]):
                    head[x] = head[x] if head[x] > pair[x] else pair[x]
            tail, joined = tails[i], spread[0]
            for x in range(pair.shape[0]):
                joined[x] = tail[x] if tail[x] > head[x] else head[x]
            span, turn, n = 1, 0, 2 * width
            while 2 * span < side:
                n -= span
                one, other, joined = spread[turn], spread[turn, span:], spread[2 if turn == 1 else 1]
                for x in range(n):
                    joined[x] = one[x] if one[x] > other[x] else other[x]
                span, turn = 2 * span, 2 if turn == 1 else 1
            high, high_after = spread[turn], spread[turn, side - span :]
            low, low_after = spread[turn, width:], spread[turn, width + side - span :]
            own, out = labels[top + i], marked[top + i]
            for x in range(n_x):
                highest = high[x] if high[x] > high_after[x] else high_after[x]
                lowest = -(low[x] if low[x] > low_after[x] else low_after[x])
                out[x] = value if (lowest < highest) & (own[x] >= least) else out[x]
    return int(all_ids)


@jit
def keep_within_radius(labels: NDArray[np.int32], radii: NDArray[np.uint8], marked: NDArray[np.uint8]) -> None:
    """Replace the radius that a pixel was marked with by 1 if its id's radius is at least as large, else by 0."""
    n_y, n_x = labels.shape
    for y in range(n_y):
        for x in range(n_x):
            marked[y, x] = 0 < marked[y, x] <= radii[labels[y, x]]


# What `survey_marks` finds of an instance, added up.
SEEN, FREE = 1, 2


@jit
def survey_marks(labels: NDArray[np.int32], marked: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
    """Note which instances there are, and which have a pixel that is not marked."""
    n_y, n_x = labels.shape
    last_label, last_mark = -1, -1
    for y in range(n_y):
        for x in range(n_x):
            label, mark = int(labels[y, x]), int(marked[y, x])
            if label != last_label or mark != last_mark:  # most pixels are like the one before, and need no writing
                found[label] |= SEEN if mark else SEEN + FREE
                last_label, last_mark = label, mark
