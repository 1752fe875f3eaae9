"""Runs: where an instance starts and how long it goes on, counted down the columns.

``runs`` are int64, (n_runs, 2): 0-based start and length, in order of the starts. They are what run-length codes write
down and what overlapping masks are painted from.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.runs import count_runs, find_runs, paint_runs
from kaggle_unet.types import Labels, Mask

Runs = NDArray[np.int64]


def split_runs(labels: Labels) -> tuple[NDArray[np.int32], list[Runs]]:
    """List the runs of every instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.

    Returns
    -------
    ids : int32 array, shape (n,)
        The ids present, ascending.
    runs : list of int64 array, shape (n_runs, 2)
        The runs of each id.
    """
    flat = np.asarray(labels, dtype=np.int32).ravel(order="F")
    n_runs = count_runs(flat)
    run_ids = np.empty(n_runs, dtype=np.int32)
    runs = np.empty((n_runs, 2), dtype=np.int64)
    find_runs(flat, run_ids, runs)
    order = np.argsort(run_ids, kind="stable")
    ids, firsts = np.unique(run_ids[order], return_index=True)
    return ids, np.split(runs[order], firsts[1:]) if len(ids) else []


def merge_runs(instances: Sequence[Runs], shape: tuple[int, int]) -> tuple[Labels, int]:
    """Paint instances into one image; where they overlap, the smaller one wins.

    Parameters
    ----------
    instances : sequence of int64 array, shape (n_runs, 2)
        The runs of each instance, sorted, inside the image.
    shape : tuple of int
        (H, W).

    Returns
    -------
    labels : int32 array, shape (H, W)
        Ids 1…n in the order of the instances. An instance that is left without a pixel has none, so ids may be missing.
    n_contested : int
        Pixels claimed by more than one instance.

    Notes
    -----
    Of two equally large instances the one wins that has the first pixel, in column-major order, that is not in both;
    only for equal instances does the input's order decide.
    """
    n_y, n_x = shape
    flat = np.zeros(n_y * n_x, dtype=np.int32)
    contested = np.zeros(flat.shape, dtype=np.bool_)
    for index in sorted(range(len(instances)), key=lambda i: (*_precedence(instances[i]), i), reverse=True):
        paint_runs(instances[index], index + 1, flat, contested)
    return np.ascontiguousarray(flat.reshape(n_x, n_y).T), int(contested.sum())


def _precedence(runs: Runs) -> tuple[int, bytes]:
    """Sort key: small instances first; of equals the one that has the first pixel that is not in both."""
    early_then_long = runs * np.array([1, -1]) + np.array([0, np.iinfo(np.int64).max])
    return int(runs[:, 1].sum()), early_then_long.astype(">i8").tobytes()  # big-endian bytes compare as numbers do


def runs_of_mask(mask: Mask) -> Runs:
    """List the runs of one mask.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        The instance's pixels.

    Returns
    -------
    int64 array, shape (n_runs, 2)
        Its runs; no rows for an empty mask.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return np.empty((0, 2), dtype=np.int64)
    # Most masks are one small object: the columns without it need not be read.
    _, (runs,) = split_runs((mask[:, columns[0] : columns[-1] + 1] > 0).astype(np.int32))
    runs[:, 0] += columns[0] * mask.shape[0]
    return runs
