"""The table of verbs, and the exit codes.

0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM.
"""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from threading import Thread
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
    "export": predict.export,
    "tune": evaluate.tune,
    "second-level": evaluate.second_level,
    "check": predict.check,
    "score": evaluate.score,
    "report": evaluate.report,
    "doctor": prepare.doctor,
}
_STOPPED_BY: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_RESUMABLE = ("make-targets", "predict", "segment", "train", "tune")
_OF_PLANES = ("submit", "vote")

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


def _stop(number: int, _frame: FrameType | None) -> Never:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    sys.exit(128 + number)


@contextmanager
def _saying_what_is_kept(words: Sequence[str]) -> Iterator[None]:
    """End at Ctrl-C and SIGTERM, and say at once what is kept: the main thread may be in the midst of a long kernel."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def say() -> None:
        for number in iter(lambda: os.read(reader, 1), b""):
            if name := _STOPPED_BY.get(number[0]):
                console.error(f"stopped by {name}; {_what_is_kept(words)}")
                return

    for number in _STOPPED_BY:
        signal.signal(number, _stop)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(writer)
        thread.join()
        os.close(reader)


def _what_is_kept(words: Sequence[str]) -> str:
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb not in _RESUMABLE:
        more = "; kaggle-unet predict keeps the planes of each image and goes on" if verb in _OF_PLANES else ""
        return f"the same command begins anew{more}"
    again = [*words, "--resume"] if verb == "train" and "--resume" not in words else words
    return f"what was finished is kept; to go on: {shlex.join(['kaggle-unet', *again])}"


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line and end the process with the code that fits."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal has no letter for
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _saying_what_is_kept(sys.argv[1:] if arguments is None else arguments):
            app(arguments)
    except KitError as error:
        console.fail(error, error.exit_code)
    except MemoryError as error:
        reason = f"out of memory {error}".strip()
        console.fail(ResourceError(f"{reason}; end other programs, or work on smaller pieces"), 4)
    except OSError as error:
        from kaggle_unet.store.atomic import explain_os_error

        console.fail(ResourceError(explain_os_error(error)), 4)
    except Exception as error:  # noqa: BLE001 the last place where a fault can become a message
        if "can't start new thread" in str(error):  # how Python says that memory or the limit of threads is used up
            error = ResourceError(f"{error}; end other programs, or raise the limit of memory or threads (ulimit)")
        console.fail(error, 4 if isinstance(error, ResourceError) else 1)
    sys.exit(0)
