"""Background that one instance surrounds."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit

UNKNOWN, NOT_ONE = 0, -1


@jit
def find_owners(
    runs: NDArray[np.int32], ids: NDArray[np.int32], labels: NDArray[np.int32], owners: NDArray[np.int32]
) -> None:
    """Find the instance round each hole, if it is one alone."""
    for run in range(runs.shape[0]):
        hole, y = ids[run], runs[run, 0]
        if owners[hole] == NOT_ONE:
            continue
        for v in range(y - 1, y + 2):
            for x in range(runs[run, 1] - 1, runs[run, 2] + 1):
                near = labels[v, x]
                if near > 0 and owners[hole] != near:
                    owners[hole] = near if owners[hole] == UNKNOWN else NOT_ONE
