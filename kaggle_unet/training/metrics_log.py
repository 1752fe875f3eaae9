"""The epochs as a table for people and programs: `metrics.csv`, and TensorBoard where it is installed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kaggle_unet.errors import ConfigError
from kaggle_unet.store import atomic_write
from kaggle_unet.training.history import Row


def write_metrics(path: Path, history: Sequence[Row]) -> None:
    """Write all epochs as CSV; an old file is replaced as a whole."""
    atomic_write(path, format_metrics(history))


def format_metrics(history: Sequence[Row]) -> str:
    r"""Format all epochs as CSV.

    >>> format_metrics([{"epoch": 1, "lr": 0.001, "valid_score": None}, {"epoch": 2, "lr": 1e-05, "valid_score": 0.25}])
    'epoch,lr,valid_score\n1,0.001,\n2,1e-05,0.25\n'
    """
    lines = [list(history[0]), *([_format(value) for value in row.values()] for row in history)]
    return "".join(",".join(line) + "\n" for line in lines)


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


@contextmanager
def tracking(folder: Path, *, wanted: bool) -> Iterator["Tracker"]:
    """Open a TensorBoard log for a training."""
    if not wanted:
        yield Tracker(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = f"--track needs TensorBoard ({error}); install it with: pip install 'kaggle-unet[track]'"
        raise ConfigError(msg) from error
    writer = SummaryWriter(folder / "tensorboard")
    try:
        yield Tracker(writer)
    finally:
        writer.close()


class Tracker:
    """Writes epochs to TensorBoard, or nowhere."""

    def __init__(self, writer: Any | None) -> None:
        self._writer = writer

    def add(self, row: Row) -> None:
        """Write an epoch."""
        if self._writer is None:
            return
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()
