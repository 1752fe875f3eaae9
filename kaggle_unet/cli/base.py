"""What all verbs share: the console, and the run or config that a verb was given."""

from pathlib import Path
from typing import TYPE_CHECKING

from kaggle_unet.steps.console import Console

if TYPE_CHECKING:
    from kaggle_unet.steps.run import Experiment

console = Console()


def open_run(given: Path, overrides: list[str] | None = None, **places: Path | None) -> "Experiment":
    """Open a run's folder or an experiment's config."""
    from kaggle_unet.steps.run import open_experiment

    return open_experiment(given, overrides or (), **places)


def repeat(overrides: list[str] | None) -> list[str]:
    """Return the `--set` options of this call for the command that is proposed next."""
    return [word for override in overrides or () for word in ("--set", override)]
