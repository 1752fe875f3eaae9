"""The epochs so far, as rows of plain numbers, and what follows from them: the best one, and when to stop.

Nothing of this is kept as a state of its own, so a resumed run cannot disagree with its history.
"""

import math
from collections.abc import Sequence
from typing import Literal

Row = dict[str, float | None]
Monitor = Literal["score", "loss"]


def is_validated(row: Row) -> bool:
    """Tell whether an epoch was validated.

    Parameters
    ----------
    row : Row
        An epoch.

    Returns
    -------
    validated : bool
        Whether it has a score.
    """
    return row["valid_score"] is not None


def merits(history: Sequence[Row], monitor: Monitor = "score") -> list[float | None]:
    """Tell how good each epoch was.

    Parameters
    ----------
    history : sequence of Row
        In order.
    monitor : {"score", "loss"}
        By which of the validation's numbers.

    Returns
    -------
    merits : list of float or None
        More is better: the score, or the loss with its sign turned. None where there was no validation.

    Examples
    --------
    >>> merits([{"valid_score": 0.5, "valid_loss": 0.9}, {"valid_score": None, "valid_loss": None}], "loss")
    [-0.9, None]
    """
    return [_merit(row, monitor)[0] if is_validated(row) else None for row in history]


def best_row(history: Sequence[Row], monitor: Monitor = "score") -> Row | None:
    """Find the best epoch.

    Parameters
    ----------
    history : sequence of Row
        In order.
    monitor : {"score", "loss"}
        Which of the validation's numbers decides.

    Returns
    -------
    row : Row or None
        The one with the highest score; of equal scores the one with the lowest loss, of equal losses the first. For
        `loss` the two change places. None before the first validation.

    Examples
    --------
    >>> rows = [{"epoch": n, "valid_score": 0.5, "valid_loss": loss} for n, loss in ((1, 0.9), (2, 0.7), (3, 0.7))]
    >>> best_row(rows)["epoch"]
    2
    """
    validated = [row for row in history if is_validated(row)]
    return max(validated, key=lambda row: _merit(row, monitor)) if validated else None


def _merit(row: Row, monitor: Monitor) -> tuple[float, float]:
    score, loss = row["valid_score"], row["valid_loss"]
    assert score is not None
    assert loss is not None
    return (score, -loss) if monitor == "score" else (-loss, score)


def validations_without_gain(history: Sequence[Row], monitor: Monitor = "score") -> int:
    """Count the validations since the best one was first reached.

    Parameters
    ----------
    history : sequence of Row
        In order.
    monitor : {"score", "loss"}
        Which of the validation's numbers counts.

    Returns
    -------
    n : int
        0 if the last validation is the one, or there was none.
    """
    found = [merit for merit in merits(history, monitor) if merit is not None]
    return len(found) - 1 - found.index(max(found)) if found else 0


def blank_validations(history: Sequence[Row]) -> int:
    """Count the last validations in a row that found nothing.

    Parameters
    ----------
    history : sequence of Row
        In order; `valid_objects` counts predicted objects; older histories have none.

    Returns
    -------
    n : int
        0 if the last validation found something.
    """
    n = 0
    for row in reversed([row for row in history if is_validated(row)]):
        if row.get("valid_objects") != 0:
            break
        n += 1
    return n


def first_loss(history: Sequence[Row]) -> float | None:
    """Give the scale of the loss.

    Parameters
    ----------
    history : sequence of Row
        In order.

    Returns
    -------
    loss : float or None
        The mean training loss of the first epoch; None before it is over.
    """
    return history[0]["train_loss"] if history else None


def is_late(history: Sequence[Row], minutes: float | None, more_s: float = 0.0) -> bool:
    """Tell whether a training has taken its time.

    Parameters
    ----------
    history : sequence of Row
        The epochs so far.
    minutes : float, optional
        What it may take; None any.
    more_s : float
        Seconds of the epoch that goes on.

    Returns
    -------
    is_late : bool
        False without a limit.
    """
    return minutes is not None and math.fsum(row["seconds"] or 0.0 for row in history) + more_s >= 60 * minutes
