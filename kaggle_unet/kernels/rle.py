"""Runs counted down the columns, found in an image that lies in memory row by row, and their text.

Strategy. Reading an image column by column would touch a new line of the cache at every pixel. Here it is read once, in
its own order: where a row differs from the one above, a *segment* of a run, one that stays in its column, ends or
begins. Two counting sorts, by column and then by id, put the segments into the order in which codes name them; segments
that meet at the foot and the head of two columns are joined. Apart from this one pass over the pixels, all work is
proportional to the number of runs. The text of run-length codes is written and read byte by byte.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.labels import count_zero_bytes

# The columns of segments.
X, Y, LENGTH, ID = range(4)

_ONE = np.uint64(1)


@jit
def find_segments(
    ids: NDArray[np.int32],
    counts: NDArray[np.int64],
    rows: NDArray[np.int32],
    words: NDArray[np.uint64],
    segments: NDArray[np.int32],
) -> None:
    """Write down the segments of runs, in the order of the rows in which they end, until there is no room.

    Must hold: H is at least 1. `counts` are the next row, the segments so far and their highest id, with negative ids
    read as unsigned.
    """
    n_y, n_x = ids.shape
    y, n, highest = counts[0], counts[1], counts[2]
    background, since, changed = rows[0], rows[1], words.view(np.uint8)
    while y <= n_y and n + n_x <= segments.shape[0]:
        above = ids[y - 1]
        row = ids[y] if y < n_y else background
        for x in range(n_x):  # no branch: this loop is the one over all pixels
            changed[x] = above[x] != row[x]
        for four in range(0, words.shape[0], 4):  # most hold no change
            if words[four] | words[four + 1] | words[four + 2] | words[four + 3] == 0:
                continue
            for word in range(four, four + 4):
                bits = words[word]
                while bits != 0:
                    x = 8 * word + int(count_zero_bytes(bits))
                    bits &= bits - _ONE
                    segments[n, X] = x
                    segments[n, Y] = since[x]
                    segments[n, LENGTH] = y - since[x]
                    segments[n, ID] = above[x]
                    n += above[x] != 0  # background is written over: a branch here would be mispredicted
                    highest = max(highest, np.int64(np.uint32(above[x])))
                    since[x] = y
        y += 1
    counts[0], counts[1], counts[2] = y, n, highest


@jit
def sort_segments(segments: NDArray[np.int32], key: int, places: NDArray[np.int64], ordered: NDArray[np.int32]) -> None:
    """Sort segments by one of their columns; equals keep their order.

    Must hold: no key is negative, and `places` are zeros, two more than the highest key.
    """
    for segment in range(segments.shape[0]):
        places[segments[segment, key] + 1] += 1
    for value in range(1, places.shape[0]):
        places[value] += places[value - 1]
    for segment in range(segments.shape[0]):
        place = places[segments[segment, key]]
        places[segments[segment, key]] += 1
        for column in range(4):
            ordered[place, column] = segments[segment, column]


@jit
def join_segments(
    segments: NDArray[np.int32],
    ordered: NDArray[np.int32],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    runs: NDArray[np.int64],
    ids: NDArray[np.int32],
    firsts: NDArray[np.int64],
) -> int:
    """Sort segments by id and column, and join those that go on in the next column; return the number of ids.

    Must hold: `places` are zeros, W + 1 of them and then two more than the highest id.
    """
    n_y, n_x = shape
    sort_segments(segments, X, places[: n_x + 1], ordered)
    sort_segments(ordered, ID, places[n_x + 1 :], segments)
    run, n_ids, end = -1, 0, np.int64(-1)
    for segment in range(segments.shape[0]):
        start = np.int64(segments[segment, X]) * n_y + segments[segment, Y]
        is_new = segment == 0 or segments[segment, ID] != segments[segment - 1, ID]
        if is_new:
            ids[n_ids] = segments[segment, ID]
            firsts[n_ids] = run + 1
            n_ids += 1
        if is_new or start != end:
            run += 1
            runs[run, 0] = start
            runs[run, 1] = 0
        runs[run, 1] += segments[segment, LENGTH]
        end = start + segments[segment, LENGTH]
    firsts[n_ids] = run + 1
    return n_ids


@jit
def paint_runs(
    runs: NDArray[np.int64], firsts: NDArray[np.int64], order: NDArray[np.int64], labels: NDArray[np.int32]
) -> int:
    """Paint instances one after another, each where nothing is painted yet; mark and count the contested pixels.

    Must hold: every run lies inside the image, no two runs of one instance share a pixel.
    """
    n_y = labels.shape[0]
    n_contested = 0
    for instance in order:
        for run in range(firsts[instance], firsts[instance + 1]):
            x, y = divmod(runs[run, 0], n_y)
            for _ in range(runs[run, 1]):
                if y == n_y:
                    x, y = x + 1, 0
                if labels[y, x] == 0:
                    labels[y, x] = instance + 1
                elif labels[y, x] > 0:
                    labels[y, x] = -labels[y, x]
                    n_contested += 1
                y += 1
    return n_contested


SPACE, LINE_FEED, ZERO = 32, 10, 48

# What `read_rle_text` returns for codes that it cannot read.
UNREADABLE = -1

# Eighteen digits always fit 64 bits, also as the sum of a start and a length.
MOST_DIGITS = 18


@jit
def write_rle_text(runs: NDArray[np.int64], firsts: NDArray[np.int64], text: NDArray[np.uint8]) -> int:
    """Write ``start length start length …``, 1-based, a line per instance, from the end of a text to its beginning.

    Must hold: every instance has a run, and the capacity is two numbers and two separators for each run. The text is
    written backwards because digits come from the last to the first, so their number need not be known.
    """
    byte = len(text)
    for instance in range(firsts.shape[0] - 2, -1, -1):
        separator = LINE_FEED
        for run in range(firsts[instance + 1] - 1, firsts[instance] - 1, -1):
            for column in range(1, -1, -1):
                byte -= 1
                text[byte] = separator
                separator = SPACE
                number = runs[run, column] + 1 - column
                while number >= 10:  # two digits at a time
                    rest = number // 100
                    pair = number - 100 * rest
                    tens = pair * 103 >> 10  # pair // 10
                    text[byte - 1] = ZERO + pair - 10 * tens
                    text[byte - 2] = ZERO + tens
                    byte -= 2
                    number = rest
                if number > 0:
                    byte -= 1
                    text[byte] = ZERO + number
    return byte


@jit
def read_rle_text(text: NDArray[np.uint8], n_px: int, runs: NDArray[np.int64], firsts: NDArray[np.int64]) -> int:
    """Read the runs of codes, a line each, if they are plain and break no rule."""
    run = code = 0
    start, end = 0, 1  # of the last run, 1-based; `start` is 0 where a new run begins
    number = n_digits = 0
    firsts[0] = 0
    for byte in text:
        if ZERO <= byte < ZERO + 10:
            number = 10 * number + int(byte) - ZERO
            n_digits += 1
            if n_digits > MOST_DIGITS:
                return UNREADABLE
            continue
        if n_digits > 0 and start == 0:
            if number < end:
                return UNREADABLE
            start = number
        elif n_digits > 0:
            end = start + number
            if number == 0 or end - 1 > n_px:
                return UNREADABLE
            runs[run, 0] = start - 1
            runs[run, 1] = number
            run += 1
            start = 0
        number = n_digits = 0
        if byte == LINE_FEED:
            if start != 0 or code == firsts.shape[0] - 1:
                return UNREADABLE
            code += 1
            firsts[code] = run
            end = 1
        elif byte != SPACE:
            return UNREADABLE
    return run if code == firsts.shape[0] - 1 else UNREADABLE
