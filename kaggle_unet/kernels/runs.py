"""Runs of equal ids in a flat array: the loops under run-length codes."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def count_runs(ids: NDArray[np.int32]) -> int:
    """Count the runs of equal non-zero ids.

    Parameters
    ----------
    ids : int32 array, shape (n_px,)
        Labels in the order in which runs are read.

    Returns
    -------
    int
        Number of runs.
    """
    n = 0
    previous = np.int32(0)
    for here in ids:
        if here != 0 and here != previous:  # noqa: PLR1714 - numba has no `in` for mixed integer types
            n += 1
        previous = here
    return n


@jit
def find_runs(
    ids: NDArray[np.int32],
    run_ids: NDArray[np.int32],
    runs: NDArray[np.int64],
) -> None:
    """Write down id, start and length of every run of equal non-zero ids.

    Parameters
    ----------
    ids : int32 array, shape (n_px,)
        Labels in the order in which runs are read.
    run_ids : int32 array, shape (n_runs,)
        Filled with the id of each run, in order of the runs' starts.
    runs : int64 array, shape (n_runs, 2)
        Filled with the 0-based start and the length of each run.

    Notes
    -----
    Must hold: ``n_runs == count_runs(ids)``.
    """
    run = -1
    previous = np.int32(0)
    for px in range(ids.shape[0]):
        here = ids[px]
        if here != 0:
            if here != previous:
                run += 1
                run_ids[run] = here
                runs[run, 0] = px
                runs[run, 1] = 0
            runs[run, 1] += 1
        previous = here


@jit
def paint_runs(
    runs: NDArray[np.int64],
    label: int,
    ids: NDArray[np.int32],
    contested: NDArray[np.bool_],
) -> None:
    """Paint one instance over whatever is there and mark the pixels that were taken.

    Parameters
    ----------
    runs : int64 array, shape (n_runs, 2)
        The instance's 0-based starts and lengths.
    label : int
        The id to paint.
    ids : int32 array, shape (n_px,)
        Painted over in place.
    contested : bool array, shape (n_px,)
        Set to True where `ids` already held an instance.

    Notes
    -----
    Must hold: every run lies inside the array, no two runs of one call share a pixel.
    """
    for run in range(runs.shape[0]):
        start = runs[run, 0]
        for px in range(start, start + runs[run, 1]):
            if ids[px] != 0:
                contested[px] = True
            ids[px] = label
