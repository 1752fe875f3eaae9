"""What all verbs share: the console, and the run or config that a verb was given."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_unet.cli.options import TrustCode
from kaggle_unet.models.custom import trust_code as trusting
from kaggle_unet.steps.console import Console

if TYPE_CHECKING:
    from kaggle_unet.steps.run import Experiment

console = Console()


def open_run(given: Path, overrides: list[str] | None = None, **options: Any) -> "Experiment":
    """Open a run's folder or an experiment's config; the options are those of `open_experiment`."""
    from kaggle_unet.steps.run import open_experiment

    return open_experiment(given, overrides or (), **options)


def repeat(overrides: list[str] | None) -> list[str]:
    """Return the `--set` options of this call for the command that is proposed next."""
    return [word for override in overrides or () for word in ("--set", override)]


def runs_networks(verb: Callable[..., None]) -> Callable[..., None]:
    """Add `--trust-code` to a verb that builds networks."""
    signature = inspect.signature(verb)
    option = inspect.Parameter("trust_code", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=TrustCode)

    @wraps(verb)
    def run(*arguments: Any, trust_code: bool = False, **options: Any) -> None:
        with trusting(trust_code):
            verb(*arguments, **options)

    run.__annotations__ = {**verb.__annotations__, "trust_code": TrustCode}
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), option])
    return run
