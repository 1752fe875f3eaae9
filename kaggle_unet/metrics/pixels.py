"""Scores of pixels, for logs and for semantic tasks; their corners are in the table of docs/scores.md."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError


def iou(true: NDArray[Any], pred: NDArray[Any]) -> float:
    """Divide the pixels in both masks by the pixels in either.

    Parameters
    ----------
    true, pred : bool or integer array, shape (H, W)
        Masks, or labels, of which every instance counts.

    Returns
    -------
    float
        0 to 1; 1 when both are empty.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> iou(np.array([[0, 1, 2]]), np.array([[True, True, True]]))
    0.6666666666666666
    """
    shared, n_true, n_pred = count_pixels(true, pred)
    return shared / (n_true + n_pred - shared) if n_true + n_pred else 1.0


def dice(true: NDArray[Any], pred: NDArray[Any]) -> float:
    """Divide twice the pixels in both masks by the sum of their pixels."""
    shared, n_true, n_pred = count_pixels(true, pred)
    return 2 * shared / (n_true + n_pred) if n_true + n_pred else 1.0


def accuracy(true: NDArray[Any], pred: NDArray[Any]) -> float:
    """Compute the share of pixels on which two masks agree."""
    shared, n_true, n_pred = count_pixels(true, pred)
    return (true.size - n_true - n_pred + 2 * shared) / true.size if true.size else 1.0


def count_pixels(true: NDArray[Any], pred: NDArray[Any]) -> tuple[int, int, int]:
    """Count what all scores of pixels are made from."""
    if true.shape != pred.shape:
        raise DataError(f"true mask is {true.shape} but predicted one {pred.shape}: they must show the same image")
    true, pred = true != 0, pred != 0
    return int(np.count_nonzero(true & pred)), int(np.count_nonzero(true)), int(np.count_nonzero(pred))
