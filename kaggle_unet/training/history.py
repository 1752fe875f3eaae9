"""The epochs so far, as rows of plain numbers, and what follows from them: the best one, and when to stop.

Nothing of this is kept as a state of its own, so a resumed run cannot disagree with its history.
"""

from collections.abc import Sequence

Row = dict[str, float | None]


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


def best_row(history: Sequence[Row]) -> Row | None:
    """Find the best epoch.

    Parameters
    ----------
    history : sequence of Row
        In order.

    Returns
    -------
    row : Row or None
        The one with the highest score; of equal scores the one with the lowest loss, of equal losses the first. None
        before the first validation.

    Examples
    --------
    >>> rows = [{"epoch": n, "valid_score": 0.5, "valid_loss": loss} for n, loss in ((1, 0.9), (2, 0.7), (3, 0.7))]
    >>> best_row(rows)["epoch"]
    2
    """
    validated = [row for row in history if is_validated(row)]
    return max(validated, key=_merit) if validated else None


def _merit(row: Row) -> tuple[float, float]:
    score, loss = row["valid_score"], row["valid_loss"]
    assert score is not None
    assert loss is not None
    return score, -loss


def validations_without_gain(history: Sequence[Row]) -> int:
    """Count the validations since the highest score was first reached.

    Parameters
    ----------
    history : sequence of Row
        In order.

    Returns
    -------
    n : int
        0 if the last validation is the one, or there was none.
    """
    scores = [row["valid_score"] for row in history if row["valid_score"] is not None]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
