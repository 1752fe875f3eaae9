"""How far a piece of work is: counts, rate, percent and times, as a line for a bar or for a log.

The time left follows from the mean rate of this call, not of the last seconds; what an earlier call has done does not
count for it.
"""

import time
from typing import TYPE_CHECKING

from rich.progress import ProgressColumn, Task
from rich.text import Text

if TYPE_CHECKING:
    from kaggle_unet.training.fold import EpochDone, StepDone
    from kaggle_unet.training.settings import TrainingSettings


def clock(seconds: float) -> str:
    """Write a time.

    >>> clock(59.6), clock(3700)
    ('1:00', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Stage:
    """A piece of work; `first` is what an earlier call had done of it."""

    def __init__(self, what: str, total: float, first: float = 0) -> None:
        self.what, self.total, self.first, self.done = what, total, first, first
        self.note = ""
        self.begun = time.monotonic()

    def update(self, done: float) -> None:
        """Take a new state."""
        self.done = done
        rate = (done - self.first) / max(self.passed_s, 1e-9)
        self.note = f"{done} of {self.total}, {rate:.3g}/s"

    @property
    def passed_s(self) -> float:
        """Seconds since this call began with it."""
        return time.monotonic() - self.begun

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at the mean rate; None before anything is done."""
        new = self.done - self.first
        return (self.total - self.done) / new * self.passed_s if new > 0 else None

    def times(self) -> str:
        """Write percent, time elapsed and time left."""
        left = "time left not known yet" if (left_s := self.left_s) is None else f"{clock(left_s)} left"
        return f"{self.done / max(self.total, 1):.0%}, {clock(self.passed_s)} elapsed, {left}"

    def line(self) -> str:
        """Write all of it."""
        return f"{self.what}: {self.note}, {self.times()}"


class TrainingStage(Stage):
    """The training of a fold, counted in epochs, of whose time validation takes its share."""

    def __init__(self, fold: int, settings: "TrainingSettings") -> None:
        super().__init__(f"fold {fold}", settings.epochs)
        self.most_s = (settings.minutes or float("inf")) * 60
        self._epoch = self._images = 0
        self._epoch_begun = self._trained = self.begun
        self._step_share = 1.0  # until the first validation
        self.note = "reading samples"

    @property
    def left_s(self) -> float | None:
        """Seconds to the last epoch, or to the limit of `training.minutes`."""
        left = super().left_s
        return None if left is None else min(left, max(0.0, self.most_s - self.passed_s))

    def begin(self) -> None:
        """Begin now: the samples are read."""
        self.begun = self._epoch_begun = time.monotonic()

    def step(self, event: "StepDone") -> None:
        """Count a step."""
        if not self._epoch:
            self.first = event.epoch - 1  # more than 0 where a training is resumed
        if event.epoch != self._epoch:
            self._epoch, self._images = event.epoch, 0
        self._images += event.images
        self._trained = time.monotonic()
        rate = self._images / max(self._trained - self._epoch_begun, 1e-9)
        self.done = event.epoch - 1 + self._step_share * event.step / event.n_steps
        self.note = f"epoch {event.epoch} of {self.total}, step {event.step} of {event.n_steps}, "
        self.note += f"loss {event.loss:.4f}, {rate:.3g} images/s"

    def validate(self, done: int, total: int) -> None:
        """Count validated images."""
        self.done = min(self.total, self._epoch - 1 + self._step_share + (1 - self._step_share) * done / total)
        self.note = f"epoch {self._epoch} of {self.total}, validating {done} of {total}"

    def end_epoch(self, event: "EpochDone") -> None:
        """Learn from a validated epoch which share of its time are steps."""
        now = time.monotonic()
        if event.row["valid_score"] is not None:
            self._step_share = (self._trained - self._epoch_begun) / max(now - self._epoch_begun, 1e-9)
        self.done, self._epoch_begun = event.row["epoch"] or 0, now


class TextOf(ProgressColumn):
    """What a task's `text` returns when the bar is drawn."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text(task.fields["text"](), no_wrap=True)
