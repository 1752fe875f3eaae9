"""The score of both competitions: mean precision over ten IoU thresholds, mean over images.

Thresholds are kept as twentieths and compared in integers (20·I > k·U), because 0.6 is not a binary fraction. The
comparison is strict, as the competitions' text has it: a pair at exactly the threshold is no hit. At 1/2 and above an
instance then has at most one partner, and no assignment has to be solved. All corners, and how other libraries differ,
are in the tables of docs/scores.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.overlap import count_overlap, iou_twentieths, pair_of_masks
from kaggle_unet.metrics.pixels import count_pixels
from kaggle_unet.types import Labels, Mask, Overlap

# 0.50, 0.55, …, 0.95
THRESHOLDS_TWENTIETHS = range(10, 20)


@dataclass(frozen=True, eq=False)
class ImageScore:
    """Hits and misses of one image at the ten thresholds."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """float64 array, shape (10,): tp / (tp + fp + fn), and 1 where truth and prediction are both empty."""
        n = self.tp + self.fp + self.fn
        precision: NDArray[np.float64] = np.divide(self.tp, n, out=np.ones(n.shape), where=n > 0)
        return precision

    @property
    def mean(self) -> float:
        """The image's score, 0 to 1."""
        return float(self.precision.sum() / self.precision.size)


def score_image(true: Labels, pred: Labels) -> ImageScore:
    """Score the instances of one image as DSB2018 does.

    Parameters
    ----------
    true, pred : int32 array, shape (H, W)
        Labels; ids need not be consecutive.

    Returns
    -------
    ImageScore
        Its `mean` is the image's score.

    Raises
    ------
    DataError
        If the shapes differ or an array is not labels.

    Notes
    -----
    No instance on either side scores 1, on one side 0. An instance in several pieces is one instance. Background is no
    instance, also when an image has none.

    References
    ----------
    .. [1] https://www.kaggle.com/competitions/data-science-bowl-2018/overview/evaluation

    Examples
    --------
    Three of four pixels are an IoU of 0.75, which beats 0.50 to 0.70 but not 0.75:

    >>> import numpy as np
    >>> score_image(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 1, 0]])).mean
    0.5
    """
    return score_overlap(count_overlap(true, pred))


def score_overlap(overlap: Overlap) -> ImageScore:
    """Score one image from its shared pixels."""
    n_pairs_at = np.bincount(iou_twentieths(overlap, strict=True), minlength=THRESHOLDS_TWENTIETHS.stop)
    n_below = np.cumsum(n_pairs_at)[THRESHOLDS_TWENTIETHS.start - 1 : -1]
    tp = overlap.true.size - n_below
    return ImageScore(tp=tp, fp=overlap.n_pred - tp, fn=overlap.n_true - tp)


def score_mask(true: Mask, pred: Mask) -> ImageScore:
    """Score one mask per image as TGS does.

    Parameters
    ----------
    true, pred : bool array, shape (H, W)
        All salt of a tile is one object.

    Returns
    -------
    ImageScore
        Its `mean` is the tile's score.

    Raises
    ------
    DataError
        If the shapes differ.

    Notes
    -----
    Both empty scores 1, one of them empty 0, otherwise a tenth for every threshold that the IoU is above.

    References
    ----------
    .. [1] https://www.kaggle.com/competitions/tgs-salt-identification-challenge/overview/evaluation

    Examples
    --------
    >>> import numpy as np
    >>> score_mask(np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)).mean
    1.0
    """
    return score_overlap(pair_of_masks(*count_pixels(true, pred)))


def mean_score(scores: Iterable[ImageScore]) -> float:
    """Average the scores of images; every image counts the same, however many instances it holds."""
    means = [score.mean for score in scores]
    if not means:
        raise DataError("there is no image to score")
    return fsum(means) / len(means)
