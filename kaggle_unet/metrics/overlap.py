"""Which instances share how many pixels: everything the scores are made from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.kernels.overlap import count_overlap as _count_overlap
from kaggle_unet.masks.labels import relabel
from kaggle_unet.types import Overlap


def count_overlap(true: NDArray[Any], pred: NDArray[Any]) -> Overlap:
    """Count the pixels that each pair of instances shares.

    Parameters
    ----------
    true, pred : integer array, shape (H, W)
        Labels of the same image; any ids, 0 is background.

    Returns
    -------
    int64 array, shape (n_true + 1, n_pred + 1)
        Entry (i, j) counts the pixels of the i-th true and the j-th predicted instance, in ascending order of ids; row
        and column 0 are background, also where an image has no background pixel.

    Raises
    ------
    DataError
        If the shapes differ or an array is not labels.

    Examples
    --------
    >>> import numpy as np
    >>> count_overlap(np.array([[7, 7, 0]]), np.array([[0, 1, 1]]))
    array([[0, 1],
           [1, 1]])
    """
    if true.shape != pred.shape:
        raise DataError(f"true labels are {true.shape} but predicted ones {pred.shape}: they must show the same image")
    true, pred = relabel(true), relabel(pred)
    overlap = np.zeros((int(true.max(initial=0)) + 1, int(pred.max(initial=0)) + 1), dtype=np.int64)
    _count_overlap(true, pred, overlap)
    return overlap


def split_overlap(overlap: Overlap) -> tuple[Overlap, Overlap]:
    """Take shared pixels and united pixels of all pairs of instances from an overlap.

    Parameters
    ----------
    overlap : int64 array, shape (n_true + 1, n_pred + 1)
        As `count_overlap` gives it.

    Returns
    -------
    intersection, union : int64 array, shape (n_true, n_pred)
        Background left out; their quotient is the IoU.
    """
    intersection = overlap[1:, 1:]
    areas_true, areas_pred = overlap.sum(axis=1)[1:], overlap.sum(axis=0)[1:]
    return intersection, areas_true[:, None] + areas_pred[None, :] - intersection
