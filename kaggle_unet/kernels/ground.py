"""The mask's components, the seeds in them, and the ground that is left between these; all of it as runs.

A component of the mask with one seed is one instance, and one without any may be: neither needs a flood. What lies
between the seeds of the others, which are *contested*, is ground.

A run is ``(row, start, end)``; `end` is the first column after it.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit


@jit
def settle_components(
    runs: NDArray[np.int32],
    ids: NDArray[np.int32],
    seed_runs: NDArray[np.int32],
    seed_ids: NDArray[np.int32],
    min_seed_px: int,
    keep_seedless: bool,
    owners: NDArray[np.int32],
    n_seeds: NDArray[np.int32],
    instances: NDArray[np.int32],
    areas: NDArray[np.int64],
) -> bool:
    """Give an id to components that nobody contests, and tell whether there are others.

    Parameters
    ----------
    runs, seed_runs : int32 array, shape (n_runs, 3)
        The runs of the mask, and of the seeds in it, in raster order.
    ids, seed_ids : int32 array, shape (n_runs,)
        Their components, 1…n. In `seed_ids`, 0 is written for seeds that do not count, and for those of components that
        nobody contests.
    min_seed_px : int
        Seeds with fewer pixels do not count.
    keep_seedless : bool
        Whether a component without seeds is an instance.
    owners : int32 array, shape (n_seeds + 1,)
        Workspace; zeros on entry.
    n_seeds : int32 array, shape (n_components + 1,)
        Zeros on entry; filled with the seeds in each component.
    instances : int32 array, shape (n_runs,)
        Filled with the ids of the mask's runs: those of components count on from those of seeds. 0 for contested
        components and those that are no instance.
    areas : int64 array, shape (n_seeds + n_components + 1,)
        Zeros on entry; filled with the pixels that have an id by now.

    Returns
    -------
    bool
        Whether any component is contested.
    """
    for run in range(seed_runs.shape[0]):  # areas for now, below zero to tell them from components
        owners[seed_ids[run]] -= seed_runs[run, 2] - seed_runs[run, 1]
    mask_run = 0
    for run in range(seed_runs.shape[0]):
        seed = seed_ids[run]
        if owners[seed] < 0 and -owners[seed] < min_seed_px:
            owners[seed] = 0
        elif owners[seed] < 0:
            while runs[mask_run, 0] < seed_runs[run, 0] or runs[mask_run, 2] <= seed_runs[run, 1]:
                mask_run += 1
            owners[seed] = ids[mask_run]
            n_seeds[ids[mask_run]] += 1
    has_contested = False
    for run in range(runs.shape[0]):
        n = n_seeds[ids[run]]
        has_contested |= n > 1
        instances[run] = owners.shape[0] - 1 + ids[run] if n == 1 or (n == 0 and keep_seedless) else 0
        areas[instances[run]] += runs[run, 2] - runs[run, 1]
    for run in range(seed_runs.shape[0]):
        if n_seeds[owners[seed_ids[run]]] < 2:
            seed_ids[run] = 0
        areas[seed_ids[run]] += seed_runs[run, 2] - seed_runs[run, 1]
    return has_contested


@jit
def split_ground(
    runs: NDArray[np.int32],
    firsts: NDArray[np.int32],
    ids: NDArray[np.int32],
    n_seeds: NDArray[np.int32],
    seed_runs: NDArray[np.int32],
    seed_ids: NDArray[np.int32],
    ground_runs: NDArray[np.int32],
    ground_firsts: NDArray[np.int32],
) -> None:
    """Cut the seeds out of the contested components.

    Parameters
    ----------
    runs, ids, n_seeds, seed_runs, seed_ids : int32 array
        As `settle_components` takes and fills them.
    firsts : int32 array, shape (H + 1,)
        Index of each row's first run of the mask.
    ground_runs : int32 array, shape (at least n_runs + n_seed_runs + 1, 3)
        Filled with the runs of ground, in raster order; what is beyond the last one has no meaning.
    ground_firsts : int32 array, shape (H + 1,)
        Filled with the index of each row's first one; the last entry is their number.
    """
    n = seed_run = 0
    for y in range(firsts.shape[0] - 1):
        ground_firsts[y] = n
        for run in range(firsts[y], firsts[y + 1]):
            start, end = runs[run, 1], runs[run, 2]
            while seed_run < seed_runs.shape[0] and seed_runs[seed_run, 0] == y and seed_runs[seed_run, 1] < end:
                if seed_ids[seed_run] > 0:
                    ground_runs[n, 0], ground_runs[n, 1], ground_runs[n, 2] = y, start, seed_runs[seed_run, 1]
                    n += start < seed_runs[seed_run, 1]
                    start = seed_runs[seed_run, 2]
                seed_run += 1
            if n_seeds[ids[run]] > 1:
                ground_runs[n, 0], ground_runs[n, 1], ground_runs[n, 2] = y, start, end
                n += start < end
    ground_firsts[firsts.shape[0] - 1] = n


@jit
def sort_runs(
    runs: NDArray[np.int32], ids: NDArray[np.int32], firsts: NDArray[np.int32], order: NDArray[np.int32]
) -> int:
    """Sort runs by component.

    Parameters
    ----------
    runs : int32 array, shape (n_runs, 3)
        In raster order.
    ids : int32 array, shape (n_runs,)
        The component of each run, 1…n.
    firsts : int32 array, shape (n + 2,)
        Zeros on entry; filled from 1 on with where in `order` each component starts, and where the last one ends.
    order : int32 array, shape (n_runs,)
        Filled with the runs, component by component, in raster order within each.

    Returns
    -------
    int
        A bound of the pixels in any component and beside it.
    """
    n_runs, n = runs.shape[0], firsts.shape[0] - 2
    for run in range(n_runs):
        firsts[ids[run]] += 1
    for component in range(1, n + 1):
        firsts[component] += firsts[component - 1]
    firsts[n + 1] = n_runs
    for run in range(n_runs - 1, -1, -1):
        firsts[ids[run]] -= 1
        order[firsts[ids[run]]] = run
    most = 0
    for component in range(1, n + 1):
        n_px = 0
        for i in range(firsts[component], firsts[component + 1]):
            n_px += 4 * (runs[order[i], 2] - runs[order[i], 1]) + 6  # itself, and three rows of two pixels more
        most = max(most, n_px)
    return most
