"""Connected components as runs of pixels: what labels, holes and decoding start from."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.components import count_changes, find_runs, link_runs
from kaggle_unet.types import Mask

Connectivity = Literal[4, 8]


class Components(NamedTuple):
    """Connected components of a mask, row by row."""

    runs: NDArray[np.int32]
    firsts: NDArray[np.int32]
    ids: NDArray[np.int32]
    n: int


def blank_classes(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Make an empty image of classes, for `find_components`."""
    n_y, n_x = shape
    return np.zeros((n_y + 2, (n_x // 8 + 1) * 8), dtype=np.uint8)


def find_components(classes: NDArray[np.uint8], *, connectivity: Connectivity = 8) -> tuple[Components, Components]:
    """Find the connected components of a mask, and those of the seeds in it.

    Parameters
    ----------
    classes : uint8 array, shape (H + 2, n_columns)
        As `blank_classes` makes it; 1 in the mask, 2 on seeds in it, 0 elsewhere and on the frame.
    connectivity : {4, 8}, default: 8
        Whether pixels that share only a corner are connected.

    Returns
    -------
    mask, seeds : Components
        Of the pixels that are not 0, and of those that are 2.

    Examples
    --------
    >>> classes = blank_classes((2, 5))
    >>> classes[1, 1:4] = 1, 2, 1
    >>> mask, seeds = find_components(classes)
    >>> mask.runs, seeds.runs
    (array([[0, 1, 4]], dtype=int32), array([[0, 2, 3]], dtype=int32))
    """
    classes = classes[1:-1]
    n_at_most = count_changes(classes) // 2
    firsts = np.empty((2, len(classes) + 1), dtype=np.int32)
    runs = np.empty((2, n_at_most + 1, 3), dtype=np.int32)
    changes = np.empty(classes.shape[1] + 1, dtype=np.int32)
    find_runs(classes, classes.view(np.int64), runs[0], firsts[0], runs[1], firsts[1], changes)
    mask, seeds = (_link(runs[i, : firsts[i, -1]], firsts[i], connectivity) for i in (0, 1))
    return mask, seeds


def find_components_of_mask(mask: Mask, *, connectivity: Connectivity = 8) -> Components:
    """Find the connected components of a mask.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        Any mask.
    connectivity : {4, 8}, default: 8
        Whether pixels that share only a corner are connected.

    Returns
    -------
    Components
        None in an empty mask.

    Examples
    --------
    >>> found = find_components_of_mask(np.array([[True, True, False, True]]))
    >>> found.runs, found.ids
    (array([[0, 0, 2], [0, 3, 4]], dtype=int32), array([1, 2], dtype=int32))
    """
    classes = blank_classes(mask.shape)
    classes[1:-1, : mask.shape[1]] = mask
    return find_components(classes, connectivity=connectivity)[0]


def whole_rows(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Make one run of every row, for kernels that look at runs only."""
    runs = np.zeros((shape[0], 3), dtype=np.int32)
    runs[:, 0] = np.arange(shape[0])
    runs[:, 2] = shape[1]
    return runs


def _link(runs: NDArray[np.int32], firsts: NDArray[np.int32], connectivity: Connectivity) -> Components:
    """Find which runs are connected."""
    ids = np.empty(len(runs), dtype=np.int32)
    return Components(runs, firsts, ids, link_runs(runs, firsts, int(connectivity == 8), ids))
