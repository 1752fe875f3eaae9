"""The mask's components and the seeds in them.

A component with one seed is one instance, and one without any may be: neither needs a flood. The others are contested.

A run is ``(row, start, end)``; `end` is the first column after it.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.classes import GROUND


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
    classes: NDArray[np.uint8],
) -> int:
    """Give an id to components that nobody contests."""
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
    n_px = 0
    for run in range(runs.shape[0]):
        n = n_seeds[ids[run]]
        instances[run] = owners.shape[0] - 1 + ids[run] if n == 1 or (n == 0 and keep_seedless) else 0
        areas[instances[run]] += runs[run, 2] - runs[run, 1]
        if n > 1:
            n_px += runs[run, 2] - runs[run, 1]
    for run in range(seed_runs.shape[0]):
        if n_seeds[owners[seed_ids[run]]] < 2:
            seed_ids[run] = 0
            for x in range(seed_runs[run, 1], seed_runs[run, 2]):
                classes[seed_runs[run, 0], x] = GROUND
        areas[seed_ids[run]] += seed_runs[run, 2] - seed_runs[run, 1]
    return n_px
