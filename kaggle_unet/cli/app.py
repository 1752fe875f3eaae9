"""The table of verbs, and the exit codes.

0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM.
"""

import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Never

import typer

from kaggle_unet import __version__
from kaggle_unet.cli import evaluate, options, predict, prepare, train
from kaggle_unet.cli.base import console
from kaggle_unet.errors import KitError, ResourceError

VERBS: dict[str, Callable[..., None]] = {
    "demo": prepare.demo,
    "init": prepare.init,
    "convert": prepare.convert,
    "make-targets": prepare.make_targets,
    "train": train.train,
    "bench-train": train.bench_train,
    "predict": predict.predict,
    "pseudo-label": predict.pseudo_label,
    "submit": predict.submit,
    "segment": predict.segment,
    "vote": predict.vote,
    "tune": evaluate.tune,
    "second-level": evaluate.second_level,
    "check": predict.check,
    "score": evaluate.score,
    "report": evaluate.report,
    "doctor": prepare.doctor,
}
_STOPPED_BY = {130: "Ctrl-C", 143: "SIGTERM"}
_CONTINUING = dict.fromkeys(("make-targets", "predict", "segment", "tune"), "the same command") | {
    "train": "the same command with --resume"
}

app = typer.Typer(
    name="kaggle-unet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kaggle-unet {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: options.Debug = False,
    quiet: options.Quiet = False,
    version: Annotated[  # noqa: ARG001 typer calls _version
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segmentation with U-Nets, from a folder of images or a Kaggle zip to label images and a scored submission."""
    console.debug, console.quiet = debug, quiet


def _terminate(_signal: int, _frame: FrameType | None) -> Never:
    sys.exit(143)


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line and end the process with the code that fits."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal has no letter for
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments)
    except KitError as error:
        console.fail(error, error.exit_code)
    except SystemExit as end:
        if end.code in _STOPPED_BY:
            words = sys.argv[1:] if arguments is None else arguments
            again = _CONTINUING.get(next((word for word in words if not word.startswith("-")), ""))
            after = f"what was finished is kept, and {again} continues" if again else "the same command begins anew"
            console.error(f"stopped by {_STOPPED_BY[end.code]}; {after}")
        raise
    except MemoryError as error:
        reason = f"out of memory {error}".strip()
        console.fail(ResourceError(f"{reason}; end other programs, or work on smaller pieces"), 4)
    except OSError as error:
        from kaggle_unet.store.atomic import explain_os_error

        console.fail(ResourceError(explain_os_error(error)), 4)
    except Exception as error:  # noqa: BLE001 the last place where a fault can become a message
        console.fail(error, 1)
    sys.exit(0)
