"""Error types of objects (found, merged, split, missed, extra), and what fixing each type alone would gain.

A score says how much is wrong; error types say what. They follow from areas alone, so no threshold other than one half
is needed; the table of docs/scores.md has the rules. Oracle fixes (as in TIDE) show what is worth improving: the score
as it would be without the errors of one type. Their gains do not add up to the total loss, because a score is a ratio.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.metrics.score import ImageScore, score_overlap
from kaggle_unet.types import DataFrame, Overlap

# Error types of true and of predicted objects; `ErrorTypes` holds indices into these.
TRUE_ERROR_TYPES = ("found", "merged", "split", "missed")
PRED_ERROR_TYPES = ("found", "merging", "part", "extra")
_FOUND, _JOINED, _CUT, _ALONE = range(4)

# Areas in px² at which a new row of the table by area begins; nuclei of stage1_train are 21 to 37,000 px².
AREA_EDGES_PX = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)


@dataclass(frozen=True, eq=False)
class ErrorTypes:
    """Error types of one image's objects; best IoU and radius error, in pixels, of the true ones."""

    true: NDArray[np.int64]
    pred: NDArray[np.int64]
    best_iou: NDArray[np.float64]
    bias_px: NDArray[np.float64]


def find_error_types(overlap: Overlap) -> ErrorTypes:
    """Find the error type of every object of an image.

    In this order: a pair with an IoU above 1/2 is found. A true object is merged if more than half of it lies in a
    predicted object that also holds more than half of another true one; that prediction is merging. A true object is
    split if two or more predicted ones lie in it, each by more than half; those are parts. All others are missed or
    extra. Fragments beside an object that was found are parts.

    >>> from kaggle_unet.metrics.overlap import count_overlap
    >>> found = find_error_types(count_overlap(np.array([[1, 1, 2, 2, 0, 3]]), np.array([[1, 1, 1, 1, 2, 0]])))
    >>> [TRUE_ERROR_TYPES[kind] for kind in found.true], [PRED_ERROR_TYPES[kind] for kind in found.pred]
    (['merged', 'merged', 'missed'], ['merging', 'extra'])
    """
    of_true, of_pred = overlap.areas_true_px[overlap.true], overlap.areas_pred_px[overlap.pred]
    is_hit = 2 * overlap.shared_px > overlap.union_px
    lies_in_pred, lies_in_true = 2 * overlap.shared_px > of_true, 2 * overlap.shared_px > of_pred
    n_held = np.bincount(overlap.pred[lies_in_pred], minlength=overlap.n_pred)
    n_parts = np.bincount(overlap.true[lies_in_true], minlength=overlap.n_true)

    true, pred = np.full(overlap.n_true, _ALONE), np.full(overlap.n_pred, _ALONE)
    true[n_parts > 1] = _CUT
    pred[overlap.pred[lies_in_true & (n_parts[overlap.true] > 1)]] = _CUT
    true[overlap.true[lies_in_pred & (n_held[overlap.pred] > 1)]] = _JOINED
    pred[n_held > 1] = _JOINED
    true[overlap.true[is_hit]] = _FOUND
    pred[overlap.pred[is_hit]] = _FOUND

    best_iou, bias_px = np.zeros(overlap.n_true), np.full(overlap.n_true, np.nan)
    np.maximum.at(best_iou, overlap.true, overlap.shared_px / overlap.union_px)
    radii_true, radii_pred = np.sqrt(of_true[is_hit] / np.pi), np.sqrt(of_pred[is_hit] / np.pi)
    bias_px[overlap.true[is_hit]] = radii_pred - radii_true
    return ErrorTypes(true, pred, best_iou, bias_px)


def tabulate_areas(overlaps: Iterable[Overlap], edges_px: Sequence[int] = AREA_EDGES_PX) -> DataFrame:
    """Count error types over a set of images, by ranges of the objects' area and, last, over all."""
    from pandas import DataFrame

    overlaps = list(overlaps)
    found = [find_error_types(overlap) for overlap in overlaps]
    true_px = _chain([overlap.areas_true_px for overlap in overlaps])
    extra_px = _chain([one.areas_pred_px[its.pred == _ALONE] for one, its in zip(overlaps, found, strict=True)])
    types = _chain([image.true for image in found])
    best_iou, bias_px = _chain([image.best_iou for image in found]), _chain([image.bias_px for image in found])
    names = [f"{low}–{high - 1}" for low, high in pairwise(edges_px)] + [f"{edges_px[-1]} and more", "all"]
    rows: list[dict[str, Any]] = []
    for name, low, high in zip(names, [*edges_px, 0], [*edges_px[1:], np.inf, np.inf], strict=True):
        is_in = (true_px >= low) & (true_px < high)
        n_extra = int(((extra_px >= low) & (extra_px < high)).sum())
        n_of_type = np.bincount(types[is_in], minlength=len(TRUE_ERROR_TYPES)).tolist()
        if is_in.any() or n_extra or name == "all":
            rows.append(
                {
                    "area_px": name,
                    "objects": int(is_in.sum()),
                    **dict(zip(TRUE_ERROR_TYPES, n_of_type, strict=True)),
                    "extra": n_extra,
                    "mean_best_iou": float(best_iou[is_in].mean()) if is_in.any() else 0.0,
                    "bias_px": float(np.nanmedian(bias_px[is_in])) if n_of_type[_FOUND] else 0.0,
                }
            )
    return DataFrame(rows)


def _chain(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)


# What can be fixed: the error type of true objects, and that of the predicted ones in their place.
_REPLACED = {"merged": ("merged", "merging"), "split": ("split", "part"), "missed": ("missed", None)}
KINDS = ("outlines", *_REPLACED, "extra")


def tabulate_oracle_fixes(overlaps: Iterable[Overlap]) -> DataFrame:
    """Compute what fixing each error type alone would gain, over a set of images; no rows without images.

    The columns are error_type, score (with those errors fixed) and gain. Only counts are fixed, no pixel is moved: a
    true object that replaces others takes nothing from its neighbours. One that a prediction overlaps with an IoU of
    at most 1/2, neither merged nor split, is missed, and that prediction is extra: fixing one leaves the other.
    """
    from pandas import DataFrame

    scores: dict[str, list[float]] = {kind: [] for kind in ("", *KINDS)}
    for overlap in overlaps:
        score = score_overlap(overlap)
        scores[""].append(score.mean)
        for kind, fixed in _fix_one_type(overlap, score).items():
            scores[kind].append(fixed.mean)
    means = {kind: fsum(each) / len(each) for kind, each in scores.items() if each}
    rows = [(kind, means[kind], means[kind] - means[""]) for kind in KINDS if means]
    return DataFrame(rows, columns=["error_type", "score", "gain"])


def _fix_one_type(overlap: Overlap, score: ImageScore) -> dict[str, ImageScore]:
    mistakes = find_error_types(overlap)
    n_true = {kind: int((mistakes.true == index).sum()) for index, kind in enumerate(TRUE_ERROR_TYPES)}
    n_pred = {kind: int((mistakes.pred == index).sum()) for index, kind in enumerate(PRED_ERROR_TYPES)}

    def count(tp: NDArray[np.int64], n_predicted: int) -> ImageScore:
        return ImageScore(tp=tp, fp=n_predicted - tp, fn=overlap.n_true - tp)

    fixed = {
        kind: count(score.tp + n_true[true], overlap.n_pred + n_true[true] - (n_pred[pred] if pred else 0))
        for kind, (true, pred) in _REPLACED.items()
    }
    fixed["outlines"] = count(np.full_like(score.tp, n_true["found"]), overlap.n_pred)
    fixed["extra"] = count(score.tp, overlap.n_pred - n_pred["extra"])
    return fixed
