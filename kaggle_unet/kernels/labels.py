"""Passes over labels: areas, new ids, overlaps of two labels, and classes and elevation of planes.

Strategy of `count_overlap`: between two places where either image changes, all pixels add to the same pair, so that a
pair is looked up once per run and not once per pixel. Changes are marked block by block, in a loop that becomes vector
code. Eight marks are then read as one word, and most words are zero. Pairs seen before are found through a hash table;
its size follows the image's, not the number of instances squared.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

# What kernels return if an array is too small.
ID_WITHOUT_PLACE, PAIR_WITHOUT_PLACE = -1, -2


@jit
def count_areas(ids: NDArray[np.uint32], areas: NDArray[np.int64]) -> int:
    """Add the pixels of every id to its area; return the highest id."""
    n_px = ids.shape[0]
    px, highest = 0, np.int64(0)
    while px < n_px:  # run by run: adding to the same number pixel by pixel would wait for memory each time
        here = ids[px]
        start = px
        while px < n_px and ids[px] == here:
            px += 1
        if here >= areas.shape[0]:
            return ID_WITHOUT_PLACE
        areas[here] += px - start
        highest = max(highest, np.int64(here))
    return int(highest)


DROPPED = -1


@jit
def renumber_in_raster_order(runs: NDArray[np.int32], labels: NDArray[np.int32], new_ids: NDArray[np.int32]) -> None:
    """Renumber labels in place, in raster order of the instances' first pixels.

    Must hold: no id is negative, and every id has a place in `new_ids`.
    """
    old = new = n = np.int32(0)
    for run in range(runs.shape[0]):
        y = runs[run, 0]
        for x in range(runs[run, 1], runs[run, 2]):
            if labels[y, x] != old:
                old = labels[y, x]
                new = new_ids[old]
                if old != 0 and new == 0:
                    n = new = np.int32(n + 1)
                    new_ids[old] = new
                if new < 0:
                    new = np.int32(0)
            labels[y, x] = new


OUTSIDE, INSIDE, SEED = 0, 1, 2
HIGHEST = 255


@jit
def classify(
    inside: NDArray[np.float32],
    core: NDArray[np.float32],
    border: NDArray[np.float32],
    thresholds: tuple[np.float32, np.float32, np.float32],
    inside_share: np.float32,
    height_share: np.float32,
    classes: NDArray[np.uint8],
    levels: NDArray[np.uint8],
) -> None:
    """Compare planes with their thresholds and compute the elevation, all in one pass."""
    n_y, n_x = core.shape
    inside_above, core_above, border_at_most = thresholds
    one = np.float32(1)
    scale = one / (one + height_share)
    for y in range(n_y):
        for x in range(n_x):
            is_inside = inside[y, x] + inside_share * border[y, x] > inside_above
            is_seed = is_inside & (core[y, x] > core_above) & (border[y, x] <= border_at_most)
            classes[y, x] = np.uint8(is_inside) + np.uint8(is_seed)
            height = (one - core[y, x] + height_share * border[y, x]) * scale
            height = height if height > 0 else np.float32(0)
            height = height if height < one else one
            levels[y, x] = np.uint8(np.rint(height * np.float32(HIGHEST)))


_ONE = np.uint64(1)
_LOW_BITS = np.uint64(0x0101010101010101)


@jit
def count_zero_bytes(bits: np.uint64) -> np.int64:
    """Count the zero bytes, 0 to 7, below the lowest 1 of a word whose bytes are 0 or 1."""
    # The zeros, a one per byte; then their number. A multiplication would add the bytes in one step, but overflow, of
    # which numpy warns where kernels run uncompiled.
    ones = (bits - _ONE) & ~bits & _LOW_BITS
    ones += ones >> np.uint64(32)
    ones += ones >> np.uint64(16)
    ones += ones >> np.uint64(8)
    return np.int64(ones & np.uint64(15))


@jit
def count_overlap(
    true: NDArray[np.uint32],
    pred: NDArray[np.uint32],
    areas_px: NDArray[np.int64],
    pairs: NDArray[np.int64],
    slots: NDArray[np.int32],
    counts: NDArray[np.int64],
    run_ends: NDArray[np.bool_],
    words: NDArray[np.uint64],
) -> int:
    """Add a part of an image to the pixels of every instance and of every pair.

    Must hold: before the first part, all but `pairs` and the scratch are zeros; the number of slots is a power of two
    and above that of places in `pairs`; the length of `run_ends` is a multiple of eight; the machine is little-endian,
    as are all that numba compiles for.
    """
    n_px, n_block, run_start = true.shape[0], run_ends.shape[0], np.int64(0)
    n_ids, last_slot = areas_px.shape[1], slots.shape[0] - 1
    n_pairs, highest_true, highest_pred = counts[0], counts[1], counts[2]
    n_true, n_pred = counts[3], counts[4]
    for start in range(0, n_px, n_block):
        # Slices that begin at 0: numba then knows that no index is negative, and the loop becomes vector instructions.
        true_here, pred_here = true[start : start + n_block + 1], pred[start : start + n_block + 1]
        n_inner = true_here.shape[0] - 1
        for k in range(n_inner):
            run_ends[k] = ((true_here[k] ^ true_here[k + 1]) | (pred_here[k] ^ pred_here[k + 1])) != 0
        for k in range(n_inner, n_block):
            run_ends[k] = k == n_inner  # the last pixel of all
        for word in range(words.shape[0]):
            bits = words[word]
            while bits != 0:
                run_end = start + 8 * word + count_zero_bytes(bits) + 1
                bits &= bits - _ONE
                n = run_end - run_start
                run_start = run_end
                i, j = np.int64(true[run_end - 1]), np.int64(pred[run_end - 1])
                if i >= n_ids or j >= n_ids:
                    return ID_WITHOUT_PLACE
                highest_true = i if i > highest_true else highest_true
                highest_pred = j if j > highest_pred else highest_pred
                n_true += i > 0 and areas_px[0, i] == 0
                n_pred += j > 0 and areas_px[1, j] == 0
                areas_px[0, i] += n
                areas_px[1, j] += n
                if i > 0 and j > 0:
                    # Fibonacci hashing of either id: the factors are 2³² over the golden ratio and over the plastic
                    # number, rounded down to what happen to be odd numbers. Products of 31 bits by 32 do not overflow.
                    slot = ((i * 0x9E3779B9 ^ j * 0xC13FA9A9) >> 16) & last_slot
                    pair = slots[slot] - 1
                    while pair >= 0 and (pairs[pair, 0] != i or pairs[pair, 1] != j):
                        slot = (slot + 1) & last_slot
                        pair = slots[slot] - 1
                    if pair >= 0:
                        pairs[pair, 2] += n
                    elif n_pairs == pairs.shape[0]:
                        return PAIR_WITHOUT_PLACE
                    else:
                        pairs[n_pairs, 0] = i
                        pairs[n_pairs, 1] = j
                        pairs[n_pairs, 2] = n
                        n_pairs += 1
                        slots[slot] = n_pairs
    counts[0], counts[1], counts[2] = n_pairs, highest_true, highest_pred
    counts[3], counts[4] = n_true, n_pred
    return 0
