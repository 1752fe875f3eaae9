"""What each kind of mistake costs: the score that would be, were only mistakes of that kind put right.

The gains do not add up to what is missing, as a score is a ratio: mended together they bring more than one by one. They
say which work pays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.metrics.mistakes import PRED_FATES, TRUE_FATES, find_mistakes
from kaggle_unet.metrics.score import ImageScore, score_overlap
from kaggle_unet.types import Overlap

# What can be put right: the fate of true objects, and that of the predicted ones in their place.
_REPLACED = {"merged": ("merged", "merging"), "split": ("split", "part"), "missed": ("missed", None)}
KINDS = ("outlines", *_REPLACED, "extra")


@dataclass(frozen=True)
class MendedRow:
    """One kind of mistake put right."""

    mended: str
    score: float
    gain: float


def tabulate_mended(overlaps: Iterable[Overlap]) -> list[MendedRow]:
    """Say what each kind of mistake costs a set of images.

    Parameters
    ----------
    overlaps : iterable of Overlap
        One per image.

    Returns
    -------
    list of MendedRow
        In the order of `KINDS`; empty without images.

    Notes
    -----
    Mistakes are those of `kaggle_unet.metrics.mistakes.find_mistakes`. Counts alone are mended, no pixel is moved: a
    true object that takes the place of others takes nothing from those beside it. One that a prediction meets by an IoU
    of no more than 1/2, neither merged nor split, is missed, and that prediction extra: mending one leaves the other.

    Examples
    --------
    Two objects in one, and one that is none:

    >>> import numpy as np
    >>> from kaggle_unet.metrics.overlap import count_overlap
    >>> overlap = count_overlap(np.array([[1, 1, 2, 2, 0, 0]]), np.array([[1, 1, 1, 1, 0, 2]]))
    >>> [(row.mended, round(row.score, 2)) for row in tabulate_mended([overlap])]
    [('outlines', 0.0), ('merged', 0.67), ('split', 0.0), ('missed', 0.0), ('extra', 0.0)]
    """
    scores: dict[str, list[float]] = {kind: [] for kind in ("", *KINDS)}
    for overlap in overlaps:
        score = score_overlap(overlap)
        scores[""].append(score.mean)
        for kind, mended in _mend(overlap, score).items():
            scores[kind].append(mended.mean)
    n = len(scores[""])
    if n == 0:
        return []
    means = {kind: fsum(each) / n for kind, each in scores.items()}
    return [MendedRow(kind, means[kind], means[kind] - means[""]) for kind in KINDS]


def _mend(overlap: Overlap, score: ImageScore) -> dict[str, ImageScore]:
    """Give one image's score with each kind put right."""
    mistakes = find_mistakes(overlap)
    n_true = dict(zip(TRUE_FATES, np.bincount(mistakes.true, minlength=len(TRUE_FATES)).tolist(), strict=True))
    n_pred = dict(zip(PRED_FATES, np.bincount(mistakes.pred, minlength=len(PRED_FATES)).tolist(), strict=True))

    def count(tp: NDArray[np.int64], n_predicted: int) -> ImageScore:
        return ImageScore(tp=tp, fp=n_predicted - tp, fn=overlap.n_true - tp)

    mended = {
        kind: count(score.tp + n_true[true], overlap.n_pred + n_true[true] - (n_pred[pred] if pred else 0))
        for kind, (true, pred) in _REPLACED.items()
    }
    mended["outlines"] = count(np.full_like(score.tp, n_true["found"]), overlap.n_pred)
    mended["extra"] = count(score.tp, overlap.n_pred - n_pred["extra"])
    return mended
