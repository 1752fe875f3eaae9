"""The table of verbs, and the exit codes.

0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from multiprocessing import active_children
from threading import Thread, Timer
from types import FrameType
from typing import Annotated, Any, Never

import typer
from typer.core import TyperCommand

from kaggle_unet import __version__
from kaggle_unet.cli import evaluate, options, predict, prepare, train
from kaggle_unet.cli.base import as_command, console
from kaggle_unet.errors import KitError, refuse_little_memory

# Each verb with two examples of its use, shown at the end of its help.
VERBS: dict[str, tuple[Callable[..., None], str, str]] = {
    "demo": (prepare.demo, "", "--folder /tmp/demo"),
    "init": (prepare.init, "nuclei --data cells", "dots --data cells.zip --set competition.masks=dots"),
    "convert": (prepare.convert, "cells/masks outlines --to geojson", "labels.zip cells.json --to coco"),
    "make-targets": (prepare.make_targets, "nuclei/config.yaml --data cells --preview 8", "tgs.yaml --data train.zip"),
    "train": (train.train, "configs/dsb2018/quick.yaml --fold 0", "tgs.yaml --fold all --set training.epochs=5"),
    "bench-train": (train.bench_train, "configs/dsb2018/quick.yaml", "runs/nuclei --steps 20 --json"),
    "launch": (train.launch, "plan.yaml", "plan.yaml --executor slurm --status"),
    "predict": (predict.predict, "runs/nuclei --oof", "runs/nuclei --data new_images --planes planes"),
    "pseudo-label": (predict.pseudo_label, "runs/tgs --data test.zip", "runs/tgs --data test.zip --confidence 0.95"),
    "submit": (predict.submit, "runs/tgs --data test.zip -o x.csv", "runs/tgs --data test.zip -o x.csv --dry-run"),
    "segment": (predict.segment, "runs/nuclei new_images -o results", "nuclei.onnx a.tif -o a --format geojson"),
    "vote": (
        predict.vote,
        "runs/tgs --csv a.csv --csv b.csv --data test.zip -o x.csv",
        "runs/a --csv a.csv --csv b.csv --csv c.csv --data x -o x.csv",
    ),
    "export": (predict.export, "runs/nuclei -o nuclei.onnx", "runs/nuclei -o one.onnx --checkpoint runs/nuclei/fold0"),
    "kernel": (
        predict.kernel,
        "runs/dsb2018/final --competition dsb2018 -o kernel",
        "runs/tgs/a --competition tgs -o k --image image.txt",
    ),
    "tune": (evaluate.tune, "runs/dsb2018/quick", "runs/dsb2018/quick --trials 500 --with runs/dsb2018/final"),
    "second-level": (evaluate.second_level, "runs/dsb2018/quick", "runs/dsb2018/quick --decode config"),
    "check": (predict.check, "x.csv --data test.zip --competition dsb2018", "x.csv --data test.zip --competition tgs"),
    "score": (evaluate.score, "runs/dsb2018/quick --train", "x.csv --truth solution.csv --competition dsb2018"),
    "report": (evaluate.report, "runs/dsb2018/quick --against config", "store/dsb2018/quick"),
    "config show": (prepare.show_config, "configs/dsb2018/quick.yaml", "runs/nuclei --set training.epochs=5"),
    "config diff": (prepare.diff_configs, "configs/tgs/quick.yaml configs/tgs/final.yaml", "runs/a runs/b --json"),
    "config schema": (prepare.config_schema, "", "-q"),
    "doctor": (prepare.doctor, "", "--json"),
}
_STOPPED_BY: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_RESUMABLE = ("launch", "make-targets", "predict", "segment", "train", "tune")
_OF_PLANES = ("submit", "vote")

_RESERVE_BYTES = 2**24  # freed for the last message when memory runs out


class _Verb(TyperCommand):
    """A verb that looks for unknown options among the keys of a config."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # typer's own class for it has no public name
            option = getattr(error, "option_name", "")
            if type(error).__name__ == "NoSuchOption" and "--set" in (o for p in self.params for o in p.opts):
                proposed = _suggest_keys(option, words)
                vars(error)["message"] += proposed or "; a key of the config is set with --set KEY=VALUE"
                vars(error)["possibilities"] = None if proposed else vars(error)["possibilities"]
            raise


def _suggest_keys(option: str, words: Sequence[str]) -> str:
    """Name the keys of a config that an unknown option may stand for, with the value it was given."""
    from kaggle_unet.config import Config
    from kaggle_unet.types import find_keys, list_keys, suggest

    place = next((n for n, word in enumerate(words) if word.startswith(option)), len(words))
    given, *after = words[place:] or [option]  # the -z of -xz is not a word
    value = given.partition("=")[2] or (after[0] if after and not after[0].startswith("-") else "VALUE")
    keys = list_keys(Config)
    found = {key: keys[key] for key in find_keys(option.lstrip("-").replace("-", "_"), keys)[:3]}
    return f"; did you mean {suggest(found, f'--set {{}}={value}')}?" if found else ""


_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(name="kaggle-unet", no_args_is_help=True, pretty_exceptions_enable=False, context_settings=_HELP)
_config = typer.Typer(no_args_is_help=True)
app.add_typer(_config, name="config", help="Show, compare and describe configs.")
for _name, (_verb, *_examples) in VERBS.items():
    _lines = ["Examples:", *(f"kaggle-unet {_name} {_example}".strip() for _example in _examples)]
    (_config if _name.startswith("config ") else app).command(
        _name.rpartition(" ")[2], epilog="\n\n".join(_lines), cls=_Verb
    )(as_command(_verb))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kaggle-unet {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: options.Debug = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
    version: Annotated[  # noqa: ARG001 typer calls _version
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segmentation with U-Nets, from a folder of images or a Kaggle zip to label images and a scored submission.

    kaggle-unet help VERB explains a verb, with examples.
    """
    console.debug, console.quiet, console.as_json = debug, quiet, as_json


def _stop(number: int, _frame: FrameType | None) -> Never:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would report its workers as killed
    for worker in active_children():  # a starting one would be waited for, and then lack what it shares
        worker.kill()
    sys.exit(128 + number)


@contextmanager
def _saying_what_is_kept(words: Sequence[str]) -> Iterator[None]:
    """End on Ctrl-C and SIGTERM, and say at once what is kept, even if the main thread is busy in a long kernel."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def say() -> None:
        for number in iter(lambda: os.read(reader, 1), b""):
            if name := _STOPPED_BY.get(number[0]):
                console.error(f"stopped by {name}; {_what_is_kept(words)}")
                return

    dropped: list[int] = []

    def stop_again(lost: "sys.UnraisableHookArgs") -> None:  # numba's compiler drops a SystemExit raised in it
        number = lost.exc_value.code - 128 if isinstance(lost.exc_value, SystemExit) else 0  # type: ignore[operator]
        if number in _STOPPED_BY:
            dropped.append(number)
            signal.signal(number, _stop)
            Timer(0.05, os.kill, (os.getpid(), number)).start()
        elif not dropped and all(signal.getsignal(each) == _stop for each in _STOPPED_BY):
            sys.__unraisablehook__(lost)  # errors that follow from a stop are not reported

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = Thread(target=say, daemon=True)
    thread.start()
    hook, sys.unraisablehook = sys.unraisablehook, stop_again
    try:
        for number in _STOPPED_BY:  # only now can the thread report it
            signal.signal(number, _stop)
        yield
    except Exception:
        if stopped := [number for number in _STOPPED_BY if signal.getsignal(number) == signal.SIG_DFL]:
            sys.exit(128 + stopped[0])  # errors that follow from a stop are not reported
        raise
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(-1)
        os.close(writer)
        thread.join()
        os.close(reader)


def _what_is_kept(words: Sequence[str]) -> str:
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb not in _RESUMABLE:
        more = "; kaggle-unet predict keeps the planes of each image and goes on" if verb in _OF_PLANES else ""
        return f"the same command begins anew{more}"
    if "--dry-run" in words:
        return "nothing was begun"
    again = [*words, "--resume"] if verb == "train" and "--resume" not in words else words
    return f"what was finished is kept; to go on: {shlex.join(['kaggle-unet', *again])}"


def _end_with(parent: int) -> None:
    """End this process, which runs a task of a plan, once the process that started it has been killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line, and end the process with the matching exit code."""
    if parent := os.environ.pop("KAGGLE_UNET_PARENT", ""):
        Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold characters that the terminal can't show
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    reserve = []
    try:
        refuse_little_memory()
        reserve.append(bytes(_RESERVE_BYTES))
        with _saying_what_is_kept(words):
            app(words)
    except KitError as error:
        console.fail(error, error.exit_code)
    except Exception as error:  # noqa: BLE001 the last place where a fault can become a message
        reserve.clear()
        from kaggle_unet.store.atomic import to_resource_error

        known = to_resource_error(error)
        console.fail(known or error, known.exit_code if known else 1)
    sys.exit(0)
