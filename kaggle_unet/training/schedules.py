"""The learning rate as a function of how far the training is; nothing to save, nothing to restore.

`plateau`, too, is computed from the scores so far and not from a counter.
"""

import math
from collections.abc import Sequence

from kaggle_unet.training.settings import ScheduleSettings


def rate_share(
    settings: ScheduleSettings, *, progress: float, epochs: int, scores: Sequence[float | None] = ()
) -> float:
    """Tell which share of the first learning rate a step uses.

    Parameters
    ----------
    settings : ScheduleSettings
        Which schedule.
    progress : float
        Epochs done once this step is, with a fraction: 1.5 is the last step of the second epoch's first half.
    epochs : int
        Epochs there are at most.
    scores : sequence of float or None
        Validation score of each whole epoch so far, None where it was not validated.

    Returns
    -------
    share : float
        From 0 to 1.

    Notes
    -----
    `cosine` starts after the warm-up and reaches `floor` with the very last step. `exponential` counts whole epochs
    after the warm-up. No schedule but a warm-up goes below `floor`.

    Examples
    --------
    >>> cosine = ScheduleSettings(name="cosine", warmup_epochs=1, floor=0)
    >>> [round(rate_share(cosine, progress=p, epochs=5), 3) for p in (0.5, 1, 3, 5)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if settings.name == "plateau":
        return max(settings.floor, _plateau(settings, scores))
    warmup = settings.warmup_epochs
    if progress < warmup:
        return progress / warmup
    since = progress - warmup
    if settings.name == "cosine":
        share = (1 + math.cos(math.pi * min(1.0, since / max(epochs - warmup, 1e-9)))) / 2
        return settings.floor + (1 - settings.floor) * share
    if settings.name == "exponential":
        # A step belongs to the epoch it ends in, so the last step of an epoch is not yet the next one's.
        return max(settings.floor, settings.factor ** max(0, math.ceil(since) - 1))
    return 1.0


def _plateau(settings: ScheduleSettings, scores: Sequence[float | None]) -> float:
    """Multiply by the factor whenever more than `patience` epochs in a row brought no better score."""
    best, bad, share = -math.inf, 0, 1.0
    for score in scores:
        if score is not None and score > best:
            best, bad = score, 0
            continue
        bad += 1
        if score is not None and bad > settings.patience:
            share, bad = share * settings.factor, 0
    return share
