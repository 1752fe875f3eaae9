"""The history of a training: a row of numbers per epoch, written to `metrics.csv` and TensorBoard.

The best epoch, early stopping and the time left are computed from it and stored nowhere else, so a resumed run cannot
disagree with its history.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Literal

from kaggle_unet.errors import import_extra
from kaggle_unet.io.tables import to_csv
from kaggle_unet.store import atomic_write

Row = dict[str, float | None]
Monitor = Literal["score", "loss"]


def is_validated(row: Row) -> bool:
    """Return True if an epoch was validated."""
    return row["valid_score"] is not None


def monitored_values(history: Sequence[Row], monitor: Monitor = "score") -> list[float | None]:
    """Return the monitored value of each epoch (higher is better), None for epochs without validation.

    >>> monitored_values([{"valid_score": 0.5, "valid_loss": 0.9}, {"valid_score": None, "valid_loss": None}], "loss")
    [-0.9, None]
    """
    return [_monitored(row, monitor)[0] if is_validated(row) else None for row in history]


def best_row(history: Sequence[Row], monitor: Monitor = "score") -> Row | None:
    """Return the best epoch, the first of equals.

    >>> rows = [{"epoch": n, "valid_score": 0.5, "valid_loss": loss} for n, loss in ((1, 0.9), (2, 0.7), (3, 0.7))]
    >>> best_row(rows)["epoch"]
    2
    """
    validated = [row for row in history if is_validated(row)]
    return max(validated, key=lambda row: _monitored(row, monitor)) if validated else None


def _monitored(row: Row, monitor: Monitor) -> tuple[float, float]:
    score, loss = row["valid_score"], row["valid_loss"]
    assert score is not None
    assert loss is not None
    return (score, -loss) if monitor == "score" else (-loss, score)


def validations_without_gain(history: Sequence[Row], monitor: Monitor = "score") -> int:
    """Count the validations since the best one, for early stopping."""
    found = [value for value in monitored_values(history, monitor) if value is not None]
    return len(found) - 1 - found.index(max(found)) if found else 0


def blank_validations(history: Sequence[Row]) -> int:
    """Count the last validations in a row that predicted no objects."""
    validated = reversed([row for row in history if is_validated(row)])
    return sum(1 for _ in takewhile(lambda row: row.get("valid_objects") == 0, validated))


def is_time_up(history: Sequence[Row], minutes: float | None, extra_s: float = 0.0) -> bool:
    """Return True if a training has used up its `minutes`; `extra_s` are seconds not yet in the history."""
    return minutes is not None and math.fsum(row["seconds"] or 0.0 for row in history) + extra_s >= 60 * minutes


def write_metrics(path: Path, history: Sequence[Row]) -> None:
    """Write all epochs as CSV; an old file is replaced as a whole."""
    from pandas import DataFrame

    atomic_write(path, to_csv(DataFrame(history)))


@contextmanager
def tracking(folder: Path, *, wanted: bool) -> Iterator[Callable[[Row], None]]:
    """Open a TensorBoard log if wanted, and yield a function that writes an epoch to it."""
    if not wanted:
        yield lambda _: None
        return
    import_extra("tensorboard", "track", "--track")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / "tensorboard") as writer:

        def track(row: Row) -> None:
            for name, value in row.items():
                if value is not None and name != "epoch":
                    writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        yield track
