"""What a training tells whoever shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kaggle_unet.training.precision import Decided

__all__ = ["Decided", "EpochDone", "EpochStarted", "Event", "OnEvent", "StepDone"]


@dataclass(frozen=True)
class EpochStarted:
    """An epoch begins."""

    epoch: int
    epochs: int
    n_steps: int


@dataclass(frozen=True)
class StepDone:
    """The weights have moved once."""

    step: int
    n_steps: int
    loss: float
    images: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch is over and its checkpoint written."""

    row: Mapping[str, float | None]
    is_best: bool
    warning: str = ""


Event = Decided | EpochStarted | StepDone | EpochDone
OnEvent = Callable[[Event], None]
