"""Competition scores: mean precision over ten IoU thresholds, mean over images.

Thresholds are kept as twentieths and compared in integers (20·I > k·U), because 0.6 is not a binary fraction. The
comparison is strict, as in the competitions' rules: a pair at exactly the threshold is not a hit. At 1/2 and above an
instance then has at most one partner, and no assignment has to be solved. All edge cases, and how other libraries
differ, are in the tables of docs/scores.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.metrics.overlap import count_overlap, iou_twentieths, pair_of_masks
from kaggle_unet.metrics.pixels import count_pixels, quotients
from kaggle_unet.types import Overlap

# 0.50, 0.55, …, 0.95
THRESHOLDS_TWENTIETHS = range(10, 20)


@dataclass(frozen=True, eq=False)
class ImageScore:
    """True positives, false positives and false negatives of one image at the ten thresholds."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """Precision tp / (tp + fp + fn) by threshold; 1 if truth and prediction are both empty."""
        return quotients(self.tp, self.tp + self.fp + self.fn)

    @property
    def mean(self) -> float:
        """The image's score, 0 to 1."""
        return float(self.precision.sum() / self.precision.size)


def score_image(true: NDArray[Any], pred: NDArray[Any]) -> ImageScore:
    """Score the instances of one image as DSB2018 does; an instance in several pieces is one instance."""
    return score_overlap(count_overlap(true, pred))


def score(true: NDArray[Any], pred: NDArray[Any], *, single_object: bool = False) -> float:
    """Score one image as the competitions do: the mean precision over ten IoU thresholds, 0.50 to 0.95.

    Parameters
    ----------
    true, pred : integer or bool array, shape (H, W)
        Labels, 0 is background; ids need not be consecutive.
    single_object : bool, default: False
        Whether all instances count as one object (TGS), instead of each by itself (DSB2018).

    Returns
    -------
    float
        0 to 1; 1 if both images are empty, 0 if only one of them is. A competition's score is the mean over its images.

    Raises
    ------
    DataError
        If the shapes differ or an array is not labels.

    References
    ----------
    .. [1] https://www.kaggle.com/competitions/data-science-bowl-2018/overview/evaluation
    .. [2] https://www.kaggle.com/competitions/tgs-salt-identification-challenge/overview/evaluation

    Examples
    --------
    >>> import numpy as np
    >>> true, pred = np.array([[1, 1, 1, 1, 2, 2]]), np.array([[3, 3, 3, 3, 3, 0]])
    >>> round(score(true, pred), 2), round(score(true, pred, single_object=True), 2)
    (0.3, 0.7)
    """
    return (score_mask if single_object else score_image)(true, pred).mean


def score_overlap(overlap: Overlap) -> ImageScore:
    """Score one image by the overlap of its labels."""
    n_pairs_at = np.bincount(iou_twentieths(overlap, strict=True), minlength=THRESHOLDS_TWENTIETHS.stop)
    n_below = np.cumsum(n_pairs_at)[THRESHOLDS_TWENTIETHS.start - 1 : -1]
    tp = overlap.true.size - n_below
    return ImageScore(tp=tp, fp=overlap.areas_pred_px.size - tp, fn=overlap.areas_true_px.size - tp)


def score_mask(true: NDArray[Any], pred: NDArray[Any]) -> ImageScore:
    """Score one mask per image as TGS does: a tenth for every threshold that the IoU is above."""
    return score_overlap(pair_of_masks(*count_pixels(true, pred)))


N_RESAMPLES = 2000  # enough for the third digit of an interval's ends


def interval_of_mean(
    values: Sequence[float] | NDArray[np.float64], groups: Sequence[str] | None = None, *, level: float = 0.95
) -> tuple[float, float]:
    """Compute the bootstrap interval of a mean.

    Parameters
    ----------
    values : sequence of float
        A score per image, or for a comparison the difference of two, image by image.
    groups : sequence of str, optional
        Images of one group, such as tiles of one picture, are drawn together, as they are not independent.
    level : float, default: 0.95
        The level of the interval.

    Returns
    -------
    low, high : float
        Percentiles of the means of 2,000 resamples, always the same for the same values.

    References
    ----------
    .. [1] Bootstrap Methods: Another Look at the Jackknife, 1979. https://doi.org/10.1214/aos/1176344552

    Examples
    --------
    >>> interval_of_mean([1.0, 1.0, 1.0])
    (1.0, 1.0)
    >>> interval_of_mean([0.0, 1.0], ["a", "a"])  # one picture
    (0.5, 0.5)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise DataError("a mean requires a list of at least one score, all of them finite numbers")
    if groups is not None and len(groups) != len(values):
        raise DataError(f"{len(groups)} groups for {len(values)} values; expected one for each")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; expected a fraction between 0 and 1, such as 0.95")
    _, group_of = np.unique(range(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(group_of, weights=values), np.bincount(group_of)
    rng = np.random.default_rng(0)
    parts = (rng.integers(len(sums), size=(100, len(sums))) for _ in range(0, N_RESAMPLES, 100))  # to save memory
    means = np.concatenate([sums[draws].sum(axis=1) / counts[draws].sum(axis=1) for draws in parts])
    low, high = np.percentile(means, (50 - 50 * level, 50 + 50 * level))
    return float(low), float(high)
