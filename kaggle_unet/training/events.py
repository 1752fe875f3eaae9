"""What a training tells whoever shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kaggle_unet.training.precision import Decided

__all__ = ["Decided", "EpochDone", "EpochStarted", "Event", "OnEvent", "StepDone"]


@dataclass(frozen=True)
class EpochStarted:
    """An epoch begins.

    Attributes
    ----------
    epoch, epochs : int
        Which one, from 1, and how many there are at most.
    n_steps : int
        Steps of each.
    """

    epoch: int
    epochs: int
    n_steps: int


@dataclass(frozen=True)
class StepDone:
    """The weights have moved once.

    Attributes
    ----------
    step, n_steps : int
        Which step of the epoch, from 1, and how many there are.
    loss : float
        Of this step's samples, before the weights moved.
    images : int
        Samples of this step.
    """

    step: int
    n_steps: int
    loss: float
    images: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch is over and its checkpoint written.

    Attributes
    ----------
    row : mapping of str to number
        Its line in `metrics.csv`; None where it was not validated.
    is_best : bool
        Whether it is now the best.
    warning : str
        What a person should know; empty if there is nothing.
    """

    row: Mapping[str, float | None]
    is_best: bool
    warning: str = ""


Event = Decided | EpochStarted | StepDone | EpochDone
OnEvent = Callable[[Event], None]
