"""Connected components of runs: pixels side by side in a row.

Strategy
--------
An image of blobs has far fewer runs than pixels. The image is read once to find them, eight pixels at a time where
nothing changes; components are then linked and numbered among the runs alone, by union-find (He, Chao & Suzuki, A
run-based two-scan labeling algorithm, IEEE Transactions on Image Processing 17, 2008). The lower of two roots becomes
the root of both, so components are numbered by their first pixels in raster order, whatever their shape.

A run is ``(row, start, end)``; `end` is the first column after it.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.classes import OUTSIDE, SEED

# Eight pixels of the same class as one number, by class.
_EIGHT = (0x0000000000000000, 0x0101010101010101, 0x0202020202020202)


@jit
def count_changes(classes: NDArray[np.uint8]) -> int:
    """Count the pixels that differ from their left neighbour.

    Parameters
    ----------
    classes : uint8 array, shape (H, n_columns)
        The last column is 0; left of the first is 0, too.

    Returns
    -------
    int
        Twice the number of runs of one class in a background of 0, and at least that of any nested ones.
    """
    n = 0
    for y in range(classes.shape[0]):
        row = classes[y]
        in_row = np.int32(row[0] != OUTSIDE)  # 32 bits: twice as many lanes of a vector register as with 64
        for x in range(1, row.shape[0]):
            in_row += np.int32(row[x] != row[x - 1])
        n += int(in_row)
    return n


@jit
def find_runs(
    classes: NDArray[np.uint8],
    words: NDArray[np.int64],
    runs: NDArray[np.int32],
    firsts: NDArray[np.int32],
    seed_runs: NDArray[np.int32],
    seed_firsts: NDArray[np.int32],
    changes: NDArray[np.int32],
) -> None:
    """Write down the runs of pixels that are not outside, and those of seeds among them.

    Parameters
    ----------
    classes : uint8 array, shape (H, 8 * n_words)
        `OUTSIDE`, `GROUND` or `SEED`; the last column is `OUTSIDE`.
    words : int64 array, shape (H, n_words)
        The same memory, eight pixels at a time.
    runs, seed_runs : int32 array, shape (at least n_runs + 1, 3)
        Filled with row, start and end, in raster order; what is beyond the last run has no meaning.
    firsts, seed_firsts : int32 array, shape (H + 1,)
        Filled with the index of each row's first run; the last entry is their number.
    changes : int32 array, shape (8 * n_words + 1,)
        Workspace: the columns of a row where the class changes.

    Notes
    -----
    Where a run starts or ends can't be foretold. So every place is written down, and written over by the next one
    unless it counts, which is faster than a branch that the processor guesses wrong.
    """
    n_y, n_words = words.shape
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


@jit
def link_runs(runs: NDArray[np.int32], firsts: NDArray[np.int32], reach: int, ids: NDArray[np.int32]) -> int:
    """Give every run the number of its connected component.

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        Row, start and end, in raster order.
    firsts : int32 array, shape (H + 1,)
        Index of each row's first run.
    reach : int
        1 where pixels that share only a corner are connected, 0 where they are not.
    ids : int32 array, shape (n_runs,)
        Filled with each run's component, 1…n in raster order of their first pixels.

    Returns
    -------
    int
        Number of components.
    """
    for y in range(firsts.shape[0] - 1):
        above = firsts[y - 1] if y > 0 else firsts[0]
        for run in range(firsts[y], firsts[y + 1]):
            ids[run] = run
            mine = run
            while above < firsts[y] and runs[above, 2] + reach <= runs[run, 1]:
                above += 1
            while above < firsts[y] and runs[above, 1] < runs[run, 2] + reach:
                theirs = int(ids[above])
                while ids[theirs] != theirs:  # to the first run of the component, with a shorter way for the next
                    ids[theirs] = ids[ids[theirs]]
                    theirs = int(ids[theirs])
                if theirs < mine:
                    ids[mine] = theirs
                    mine = theirs
                else:
                    ids[theirs] = mine
                if runs[above, 2] + reach > runs[run, 2]:  # it may touch the next run of this row, too
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
def paint_runs(runs: NDArray[np.int32], ids: NDArray[np.int32], labels: NDArray[np.int32]) -> None:
    """Paint every run with its id.

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        Row, start and end.
    ids : int32 array, shape (n_runs,)
        What to paint them with; runs of id 0 are left alone.
    labels : int32 array, shape (H, W)
        Painted over.
    """
    for run in range(runs.shape[0]):
        if ids[run] != 0:
            for x in range(runs[run, 1], runs[run, 2]):
                labels[runs[run, 0], x] = ids[run]
