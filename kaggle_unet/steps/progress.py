"""Progress of a piece of work: counts, rate, percentage and times, as a line for a bar or a log.

The time left follows from the mean rate of this call, not of the last seconds; what an earlier call has done does not
count towards it.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kaggle_unet.types import FULL

if TYPE_CHECKING:
    from kaggle_unet.training.device import DeviceConfig
    from kaggle_unet.training.fold import EpochDone, PartDone, StepDone
    from kaggle_unet.training.settings import TrainingSettings


def clock(seconds: float) -> str:
    """Format a duration.

    >>> clock(59.6), clock(3700)
    ('1:00', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Stage:
    """A piece of work; `first` is how much of it was already done when it was first reported."""

    def __init__(self, what: str, total: float, first: float = 0) -> None:
        self.what, self.total, self.first, self.done, self.note = what, total, first, first, "begin"
        self.begun, self.most_s = time.monotonic(), float("inf")

    def update(self, done: float) -> None:
        """Record how much is done."""
        self.done = done
        rate = f", {(done - self.first) / max(self.elapsed_s, 1e-9):.3g}/s" if done > self.first else ""
        self.note = f"{done} of {self.total}{rate}"

    @property
    def elapsed_s(self) -> float:
        """Seconds since this call began the work."""
        return time.monotonic() - self.begun

    @property
    def remaining_s(self) -> float | None:
        """Seconds that the rest will take at the mean rate; None before anything is done."""
        if (new := self.done - self.first) <= 0:
            return None
        return min((self.total - self.done) / new * self.elapsed_s, max(0.0, self.most_s - self.elapsed_s))

    def __str__(self) -> str:
        left = "time left not known yet" if (remaining_s := self.remaining_s) is None else f"{clock(remaining_s)} left"
        return f"{self.note}, {self.done / max(self.total, 1):.0%}, {clock(self.elapsed_s)} elapsed, {left}"


def name_fold(fold: int) -> str:
    """Return the name of a fold as it is printed."""
    return "all images" if fold == FULL else f"fold {fold}"


class TrainingStage(Stage):
    """The training of a fold, counted in epochs; validation takes a share of each epoch's time."""

    def __init__(self, fold: int, settings: "TrainingSettings") -> None:
        super().__init__(name_fold(fold), settings.epochs)
        self.most_s = (settings.minutes or float("inf")) * 60
        self._epoch = self._images = 0
        self._epoch_begun = self._trained = self.begun
        self._step_share = 1.0  # of an epoch's time; all of it until the first validation

    def take(self, event: "DeviceConfig | StepDone | PartDone | EpochDone") -> str:
        """Record an event, and return the line to print for it, if any."""
        from kaggle_unet.training.fold import EpochDone, PartDone, StepDone

        now = time.monotonic()
        if isinstance(event, StepDone):
            if event.epoch != self._epoch:
                self.first = self.first if self._epoch else event.epoch - 1  # more than 0 if training was resumed
                self._epoch, self._images = event.epoch, 0
            self._images, self._trained = self._images + event.images, now
            self.done = event.epoch - 1 + self._step_share * event.step / event.n_steps
            rate = self._images / max(now - self._epoch_begun, 1e-9)
            self.note = f"epoch {event.epoch}/{self.total}, step {event.step}/{event.n_steps}, {rate:.3g} images/s"
        elif isinstance(event, PartDone):
            done = self._step_share + (1 - self._step_share) * event.done / event.total
            self.done = min(self.total, self._epoch - 1 + done)
            self.note = f"epoch {self._epoch}/{self.total}, validating {event.done}/{event.total}"
        elif isinstance(event, EpochDone):
            if event.row["valid_score"] is not None:
                self._step_share = (self._trained - self._epoch_begun) / max(now - self._epoch_begun, 1e-9)
            self.done, self._epoch_begun = event.row["epoch"] or 0, now
            return f"{_epoch_line(event.row, is_best=event.is_best)}  {clock(self.remaining_s or 0)} left"
        else:  # the samples have been read, and the work that is timed begins
            self.begun = self._epoch_begun = self._trained = now
            return event.text
        return ""


def _epoch_line(row: Mapping[str, Any], *, is_best: bool) -> str:
    score = row.get("valid_score")
    shown = "" if score is None else f"  validation {score:.4f}{' best' if is_best else ''}"
    return f"epoch {row['epoch']}  loss {row['train_loss']:.4f}{shown}  {row['images_per_s']:.0f} images/s"
