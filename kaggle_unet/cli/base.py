"""What all verbs share: the console, the common options, and opening the run or config that a verb is given."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_unet.cli.options import Debug, Json, Quiet, TrustCode
from kaggle_unet.steps.console import Console

if TYPE_CHECKING:
    from kaggle_unet.steps.run import Experiment

console = Console()


def open_run(given: Path, overrides: list[str] | None = None, **options: Any) -> "Experiment":
    """Open a run's folder or an experiment's config; the options are those of `open_experiment`."""
    from kaggle_unet.steps.run import open_experiment

    return open_experiment(given, overrides or (), **options)


def repeat(overrides: list[str] | None) -> list[str]:
    """Return the `--set` options of this call, for the command proposed next."""
    return [word for override in overrides or () for word in ("--set", override)]


def runs_networks(verb: Callable[..., None]) -> Callable[..., None]:
    """Mark a verb that builds networks."""
    vars(verb)["runs_networks"] = True
    return verb


def as_command(verb: Callable[..., None]) -> Callable[..., None]:
    """Add -q, --debug and --json to a verb, and --trust-code if it builds networks."""
    added: dict[str, Any] = {"trust_code": TrustCode} if hasattr(verb, "runs_networks") else {}
    added |= {"quiet": Quiet, "debug": Debug, "as_json": Json}
    signature, kind = inspect.signature(verb), inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, kind, default=False, annotation=option) for name, option in added.items()]

    @wraps(verb)
    def run(*arguments: Any, quiet: bool, debug: bool, as_json: bool, trust_code: bool = False, **options: Any) -> None:
        from kaggle_unet.models.custom import trust_code as trusting

        with trusting(trust_code), console.answering(debug=debug, quiet=quiet, as_json=as_json):
            verb(*arguments, **options)

    run.__annotations__ = {**verb.__annotations__, **added}
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), *more])
    return run
