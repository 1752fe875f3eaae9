"""Scores of pixels: accuracy, IoU and Dice of masks and of semantic classes, from counts of pixels.

Exact forms are quotients of counts. Smooth forms, as Keras kits write them, add one pixel to numerator and denominator
for every image. All edge cases are in the tables of docs/scores.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import check_integers, check_mask
from kaggle_unet.types import IGNORED_CLASS, DataFrame

OF_MASKS = ("background", "all objects")  # of labels whose instances all count as one
SCORES = ("accuracy", "iou", "dice", "iou_smooth", "dice_smooth")
SMOOTH_PX = 1.0  # what the smooth forms add, as most kits do


def iou(true: NDArray[Any], pred: NDArray[Any], *, smooth: float = 0.0) -> float:
    """Compute the intersection over union of two masks: (I + smooth) / (U + smooth).

    Parameters
    ----------
    true, pred : bool or integer array, shape (H, W)
        Masks, or labels, of which every instance counts.
    smooth : float, default: 0
        0 is the exact form; Keras kits use 1.

    Returns
    -------
    float
        0 to 1; 1 when both are empty.

    Raises
    ------
    DataError
        If the shapes differ or an array is not a mask, such as one of probabilities.
    ConfigError
        If `smooth` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> true, pred = np.array([[0, 1, 2]]), np.array([[True, True, True]])
    >>> iou(true, pred), iou(true, pred, smooth=1)
    (0.6666666666666666, 0.75)
    """
    shared, n_true, n_pred = count_pixels(true, pred)
    return _quotient(shared, n_true + n_pred - shared, smooth)


def dice(true: NDArray[Any], pred: NDArray[Any], *, smooth: float = 0.0) -> float:
    """Compute the Dice coefficient of two masks, the F1 of their pixels: (2·I + smooth) / (A + B + smooth).

    Parameters
    ----------
    true, pred : bool or integer array, shape (H, W)
        Masks, or labels.
    smooth : float, default: 0
        0 is the exact form.

    Returns
    -------
    float
        0 to 1; 1 when both are empty.

    Raises
    ------
    DataError, ConfigError
        As `iou` does.

    Examples
    --------
    >>> import numpy as np
    >>> dice(np.array([[0, 1, 2]]), np.array([[True, True, True]]))
    0.8
    """
    shared, n_true, n_pred = count_pixels(true, pred)
    return _quotient(2 * shared, n_true + n_pred, smooth)


def pixel_accuracy(true: NDArray[Any], pred: NDArray[Any]) -> float:
    """Compute the fraction of pixels that are in both masks or in neither; 1 if there are no pixels.

    Parameters
    ----------
    true, pred : bool or integer array, shape (H, W)
        Masks, or labels.

    Returns
    -------
    float
        0 to 1. High where most pixels are background, whatever is found: see `iou`.

    Raises
    ------
    DataError
        As `iou` does.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_accuracy(np.array([[0, 0, 0, 5]]), np.array([[0, 0, 0, 0]]))
    0.75
    """
    shared, n_true, n_pred = count_pixels(true, pred)
    n = np.size(true)
    return _quotient(n - n_true - n_pred + 2 * shared, n, 0)


def _quotient(part: float, whole: float, smooth: float) -> float:
    if smooth < 0:
        raise ConfigError(f"smooth is {smooth}; expected pixels to add, such as 1, or 0 for the exact form")
    return (part + smooth) / (whole + smooth) if whole + smooth else 1.0


def count_pixels(true: NDArray[Any], pred: NDArray[Any]) -> tuple[int, int, int]:
    """Count the pixels in both masks, in the true one and in the predicted one."""
    true, pred = check_mask(true), check_mask(pred)
    if true.shape != pred.shape:
        raise DataError(f"true mask is {true.shape} but predicted one {pred.shape}: both must be of the same image")
    return int(np.count_nonzero(true & pred)), int(np.count_nonzero(true)), int(np.count_nonzero(pred))


def count_confusion(true: NDArray[Any], pred: NDArray[Any], names: Sequence[str] = OF_MASKS) -> NDArray[np.int64]:
    """Count the pixels of every true class (row) by predicted class (column), int64 (n, n).

    For `OF_MASKS` the arrays are masks, or labels of which every instance counts; otherwise classes 0…n−1, where pixels
    whose true class is `IGNORED_CLASS` do not count.

    >>> count_confusion(np.array([[0, 1, 1, 255]]), np.array([[0, 1, 0, 2]]), ("soil", "water", "ice"))
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 0, 0]])
    """
    if tuple(names) == OF_MASKS:
        shared, n_true, n_pred = count_pixels(true, pred)
        return np.array([[np.size(true) - n_true - n_pred + shared, n_pred - shared], [n_true - shared, shared]])
    n, true, pred = len(names), check_integers(true, "true classes"), check_integers(pred, "predicted classes")
    if true.shape != pred.shape:
        raise DataError(f"true classes are {true.shape} but predicted {pred.shape}: both must be of the same image")
    counts = true != IGNORED_CLASS
    true, pred = true[counts].astype(np.int64), pred[counts].astype(np.int64)
    for what, values in (("true", true), ("predicted", pred)):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < n:
            raise DataError(f"{what} classes run from {values.min()} to {values.max()}; expected 0 to {n - 1}")
    return np.bincount(true * n + pred, minlength=n * n).reshape(n, n)


@dataclass(frozen=True, eq=False)
class ClassScore:
    """The pixels of one image by true and predicted class."""

    confusion: NDArray[np.int64]
    names: Sequence[str]

    @property
    def ious(self) -> NDArray[np.float64]:
        """The IoU of every class; NaN for classes that are neither in the truth nor in the prediction."""
        shared = np.diagonal(self.confusion)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - shared
        return np.asarray(np.divide(shared, union, out=np.full(shared.shape, np.nan), where=union > 0))

    @property
    def mean(self) -> float:
        """The image's score: the mean IoU of the classes in truth or prediction; 1 without a pixel that counts."""
        return 1.0 if np.isnan(self.ious).all() else float(np.nanmean(self.ious))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for every class in truth or prediction."""
        true, pred = self.confusion.sum(axis=1).tolist(), self.confusion.sum(axis=0).tolist()
        rows = zip(self.names, true, pred, self.ious.tolist(), strict=True)
        columns = ("class", "true_px", "predicted_px", "iou")
        return [dict(zip(columns, row, strict=True)) for row in rows if row[1] + row[2]]


def score_classes(true: NDArray[Any], pred: NDArray[Any], names: Sequence[str]) -> ClassScore:
    """Score the classes of one image's pixels."""
    return ClassScore(count_confusion(true, pred, names), names)


def tabulate_pixels(
    confusions: Sequence[NDArray[np.int64]], names: Sequence[str]
) -> tuple[dict[str, float], DataFrame]:
    """Score the pixels of images by their confusions: the scores of the set, and a row for every class and their mean.

    The `accuracy` of a class is the fraction of its pixels that were found; that of the set is over all pixels. `iou`
    and `dice` are exact, over all images together; the smooth ones are means over images. The set has the scores of the
    objects, or the mean over classes. Classes that occur nowhere score 1 and do not count in the mean.
    """
    from pandas import DataFrame, concat

    images = np.stack(confusions)
    shared, true, pred = np.diagonal(images, axis1=1, axis2=2), images.sum(axis=2), images.sum(axis=1)
    shared_px, true_px, pred_px = shared.sum(axis=0), true.sum(axis=0), pred.sum(axis=0)
    table = DataFrame(
        {
            "class": list(names),
            "true_px": true_px,
            "predicted_px": pred_px,
            "accuracy": quotients(shared_px, np.where(true_px > 0, true_px, pred_px)),
            "iou": quotients(shared_px, true_px + pred_px - shared_px),
            "dice": quotients(2 * shared_px, true_px + pred_px),
            "iou_smooth": ((shared + SMOOTH_PX) / (true + pred - shared + SMOOTH_PX)).mean(axis=0),
            "dice_smooth": ((2 * shared + SMOOTH_PX) / (true + pred + SMOOTH_PX)).mean(axis=0),
        }
    )
    mean = table[true_px + pred_px > 0][list(SCORES)].mean().fillna(1.0)  # no pixel at all
    sums = {"class": "mean", "true_px": true_px.sum(), "predicted_px": pred_px.sum()}
    of_set = table.iloc[1] if tuple(names) == OF_MASKS else mean
    accuracy = float(quotients(shared_px.sum(), true_px.sum()))
    table = concat([table, DataFrame([{**sums, **mean}])], ignore_index=True)
    return {name: float(of_set[name]) for name in SCORES} | {"accuracy": accuracy}, table


def quotients(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide, with a quotient of 1 where there is nothing to divide by."""
    return np.divide(parts, wholes, out=np.ones(np.shape(wholes)), where=wholes > 0)
