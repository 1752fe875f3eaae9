"""Instance scores of the literature (AP, precision, recall, F1, PQ), after StarDist's `matching_dataset`.

They differ from the competitions' score in three points: a pair matches when its IoU is *at least* the threshold,
counts are pooled over the images (a single-nucleus image counts less than a crowded one), and an image on which
nothing is matched scores 0 even when nothing was there. All edge cases, and how other libraries differ, are in the
tables of docs/scores.md.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.metrics.overlap import count_overlap, iou_twentieths
from kaggle_unet.metrics.pixels import OF_MASKS, count_confusion, tabulate_pixels
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS
from kaggle_unet.types import DataFrame, Labels, Overlap


def match(true: NDArray[Any], pred: NDArray[Any], *, strict: bool = False) -> DataFrame:
    """Match the instances of one image, and compute the literature's scores by IoU threshold.

    Parameters
    ----------
    true, pred : integer array, shape (H, W)
        Labels, 0 is background; ids need not be consecutive.
    strict : bool, default: False
        Whether a pair must be above the threshold, as in the competitions, instead of reaching it.

    Returns
    -------
    DataFrame
        One row per threshold, 0.50 to 0.95, with the columns

        - threshold_iou: the IoU that a pair must reach;
        - tp, fp, fn: matched pairs, predicted and true instances without a partner;
        - ap_pooled: tp / (tp + fp + fn); ap_per_image, its mean over images, is the same for a single one;
        - precision, recall, f1, and pq (panoptic quality): f1 · mean_matched_iou;
        - mean_matched_iou: the mean IoU of the matched pairs;
        - pixel_accuracy, pixel_iou, pixel_dice, and pixel_iou_smooth, pixel_dice_smooth, with 1 px added to numerator
          and denominator: of the masks of all instances, the same in every row.

    Raises
    ------
    DataError
        If the shapes differ or an array is not labels.

    Examples
    --------
    >>> import numpy as np
    >>> table = match(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 0]]))
    >>> table[["threshold_iou", "tp", "fp", "fn", "ap_pooled", "pq"]].head(4)
       threshold_iou  tp  fp  fn  ap_pooled        pq
    0           0.50   1   0   1        0.5  0.444444
    1           0.55   1   0   1        0.5  0.444444
    2           0.60   1   0   1        0.5  0.444444
    3           0.65   1   0   1        0.5  0.444444
    """
    table = summarize([(true, pred)], strict=strict)
    scores, _ = tabulate_pixels([count_confusion(true, pred)], OF_MASKS)
    return table.assign(**{f"pixel_{name}": value for name, value in scores.items()})


def summarize(pairs_or_overlaps: Iterable[tuple[Labels, Labels] | Overlap], *, strict: bool = False) -> DataFrame:
    """Compute the table of `match` over a set of images, given as pairs of labels or as overlaps; counts are pooled.

    Every quotient is 0 where nothing matches, so an image without instances lowers `ap_per_image` even when rightly
    left empty. At exactly 1/2 two halves can claim the same instance; one of them gets it, the other counts as
    unmatched.

    References: https://github.com/stardist/stardist/blob/main/stardist/matching.py, and for pq Kirillov et al.,
    Panoptic Segmentation, CVPR 2019, equation 1.
    """
    from pandas import DataFrame

    overlaps = (count_overlap(*item) if isinstance(item, tuple) else item for item in pairs_or_overlaps)
    matches = [_count_matches(overlap, strict=strict) for overlap in overlaps]
    if not matches:
        raise DataError("there is no image to score")
    return DataFrame(
        _summarize_threshold(twentieths / 20, np.array([image[row] for image in matches]))
        for row, twentieths in enumerate(THRESHOLDS_TWENTIETHS)
    )


def _count_matches(overlap: Overlap, *, strict: bool) -> NDArray[np.float64]:
    """Count one image's tp, fp and fn, and sum its matched IoUs; shape (n_thresholds, 4)."""
    twentieths = iou_twentieths(overlap, strict=strict)
    hits = np.flatnonzero(twentieths >= THRESHOLDS_TWENTIETHS.start)
    # If an instance has two partners, both have an IoU of exactly 1/2 and no other partner: either will do.
    hits = hits[_is_first(overlap.true[hits]) & _is_first(overlap.pred[hits])]
    twentieths, ious = twentieths[hits], overlap.shared_px[hits] / overlap.union_px[hits]
    counts = np.zeros((len(THRESHOLDS_TWENTIETHS), 4))
    for i, k in enumerate(THRESHOLDS_TWENTIETHS):
        matched = ious[twentieths >= k]
        counts[i] = matched.size, overlap.n_pred - matched.size, overlap.n_true - matched.size, matched.sum()
    return counts


def _is_first(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first occurrence of every id."""
    first = np.zeros(ids.shape, dtype=np.bool_)
    first[np.unique(ids, return_index=True)[1]] = True
    return first


def _summarize_threshold(threshold_iou: float, counts: NDArray[np.float64]) -> dict[str, float]:
    """Turn the images' tp, fp, fn and matched IoU, shape (n_images, 4), into one row."""
    tp, fp, fn, matched = counts.sum(axis=0).tolist()
    per_image = counts[:, 0] / np.maximum(counts[:, :3].sum(axis=1), 1)
    return {
        "threshold_iou": threshold_iou,
        "tp": int(tp),
        "fp": int(fp),
        "fn": int(fn),
        "ap_pooled": _divide(tp, tp + fp + fn),
        "ap_per_image": float(per_image.mean()),
        "precision": _divide(tp, tp + fp),
        "recall": _divide(tp, tp + fn),
        "f1": _divide(2 * tp, 2 * tp + fp + fn),
        "pq": _divide(matched, tp + fp / 2 + fn / 2),
        "mean_matched_iou": _divide(matched, tp),
    }


def _divide(part: float, whole: float) -> float:
    """Divide, or return 0 if there is nothing to divide by."""
    return part / whole if whole else 0.0
