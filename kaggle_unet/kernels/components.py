"""Connected components among runs of pixels, and instances around holes.

Strategy. An image of blobs has far fewer runs than pixels. It is read once to find them, eight pixels at a time where
nothing changes; components are then linked and numbered among the runs alone, by union-find (He, Chao & Suzuki, A
run-based two-scan labeling algorithm, IEEE Transactions on Image Processing 17, 2008). The lower of two roots becomes
the root of both, so components are numbered by their first pixels in raster order, whatever their shape. A run is
``(row, start, end)``; `end` is the first column after it.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.labels import OUTSIDE, SEED

# Eight pixels of the same class as one number, by class.
_EIGHT = (0x0000000000000000, 0x0101010101010101, 0x0202020202020202)


@jit
def count_changes(classes: NDArray[np.uint8]) -> int:
    """Count the pixels that differ from their left neighbour."""
    n = 0
    for y in range(classes.shape[0]):
        row = classes[y]
        in_row = np.int32(row[0] != OUTSIDE)  # 32 bits: twice as many lanes of a vector register as with 64
        for x in range(1, row.shape[0]):
            in_row += np.int32(row[x] != row[x - 1])
        n += int(in_row)
    return n


@jit
def link_runs(runs: NDArray[np.int32], firsts: NDArray[np.int32], reach: int, ids: NDArray[np.int32]) -> int:
    """Find the connected component of every run; return the number of components."""
    for y in range(firsts.shape[0] - 1):
        above = firsts[y - 1] if y > 0 else firsts[0]
        for run in range(firsts[y], firsts[y + 1]):
            ids[run] = run
            mine = run
            while above < firsts[y] and runs[above, 2] + reach <= runs[run, 1]:
                above += 1
            while above < firsts[y] and runs[above, 1] < runs[run, 2] + reach:
                theirs = int(ids[above])
                while ids[theirs] != theirs:  # to the component's first run, shortening the way for the next
                    ids[theirs] = ids[ids[theirs]]
                    theirs = int(ids[theirs])
                if theirs < mine:
                    ids[mine] = theirs
                    mine = theirs
                else:
                    ids[theirs] = mine
                if runs[above, 2] + reach > runs[run, 2]:  # it may also touch the next run of this row
                    break
                above += 1
    n = 0
    for run in range(runs.shape[0]):  # a root comes before all that hang from it
        if ids[run] == run:
            n += 1
            ids[run] = n
        else:
            ids[run] = ids[ids[run]]
    return n


@jit
def find_components(
    classes: NDArray[np.uint8],
    words: NDArray[np.int64],
    reach: int,
    all_runs: NDArray[np.int32],
    all_firsts: NDArray[np.int32],
    all_ids: NDArray[np.int32],
    changes: NDArray[np.int32],
) -> tuple[int, int]:
    """Find runs and components of pixels that are not outside, and of seeds among them; return their numbers.

    Where a run starts or ends is unpredictable, so each position is stored unconditionally and overwritten unless it
    counts (branchless).
    """
    n_y, n_words = words.shape
    runs, seed_runs = all_runs[0], all_runs[1]
    firsts, seed_firsts = all_firsts[0], all_firsts[1]
    started = ended = seeds_started = seeds_ended = 0
    for y in range(n_y):
        firsts[y] = ended
        seed_firsts[y] = seeds_ended
        n_changes = 0
        here = OUTSIDE
        for word in range(n_words):
            if words[y, word] == _EIGHT[here]:
                continue
            for x in range(8 * word, 8 * word + 8):
                changes[n_changes] = x
                n_changes += classes[y, x] != here
                here = int(classes[y, x])
        here = OUTSIDE
        for change in range(n_changes):
            x = changes[change]
            new = int(classes[y, x])
            runs[started, 0] = y
            runs[started, 1] = x
            runs[ended, 2] = x
            seed_runs[seeds_started, 0] = y
            seed_runs[seeds_started, 1] = x
            seed_runs[seeds_ended, 2] = x
            started += (here == OUTSIDE) & (new != OUTSIDE)
            ended += (here != OUTSIDE) & (new == OUTSIDE)
            seeds_started += (here != SEED) & (new == SEED)
            seeds_ended += (here == SEED) & (new != SEED)
            here = new
    firsts[n_y] = ended
    seed_firsts[n_y] = seeds_ended
    n = link_runs(runs[:ended], firsts, reach, all_ids[0])
    return n, link_runs(seed_runs[:seeds_ended], seed_firsts, reach, all_ids[1])


@jit
def paint_runs(runs: NDArray[np.int32], ids: NDArray[np.int32], labels: NDArray[np.int32]) -> None:
    """Paint every run with its id."""
    for run in range(runs.shape[0]):
        if ids[run] != 0:
            for x in range(runs[run, 1], runs[run, 2]):
                labels[runs[run, 0], x] = ids[run]


UNKNOWN, NOT_ONE = 0, -1


@jit
def find_owners(
    runs: NDArray[np.int32], ids: NDArray[np.int32], labels: NDArray[np.int32], owners: NDArray[np.int32]
) -> None:
    """Find the instance around each hole, if there is only one."""
    for run in range(runs.shape[0]):
        hole, y = ids[run], runs[run, 0]
        if owners[hole] == NOT_ONE:
            continue
        for v in range(y - 1, y + 2):
            for x in range(runs[run, 1] - 1, runs[run, 2] + 1):
                near = labels[v, x]
                if near > 0 and owners[hole] != near:
                    owners[hole] = near if owners[hole] == UNKNOWN else NOT_ONE
