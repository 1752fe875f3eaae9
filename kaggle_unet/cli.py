"""The command line: read options, call one step, print its result.

Exit codes: 0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM. Nothing
heavy is imported before a verb needs it, so that `--help` answers at once.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Never

import typer

from kaggle_unet import __version__
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.steps.console import Console

app = typer.Typer(
    name="kaggle-unet",
    help="Segmentation with U-Nets, from a folder of images or a Kaggle zip to label images and a scored submission.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")]
RunOrConfig = Annotated[
    Path, typer.Argument(metavar="RUN_OR_CONFIG", help="A run's folder, or the YAML file of its experiment.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the config. Repeatable.")
]
DataOption = Annotated[
    str, typer.Option("--data", metavar="DATA", help="A zip, a folder, or a path inside a zip: x.zip:dsb2018/train.")
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="The store's folder. Default: store/<experiment>.")
]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="The run's folder. Default: runs/<experiment>.")
]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="PATH",
        help="A file, or a fold's folder (its best). Repeatable. Default: the best of each of the run's folds.",
    ),
]
MovedStore = Annotated[Path | None, typer.Option("--store", metavar="DIR", help="The run's store, if it has moved.")]
CompetitionOption = Annotated[
    str, typer.Option("--competition", metavar="NAME", help="dsb2018, tgs or folder (with the rules of DSB2018).")
]
DecodeOption = Annotated[
    str | None,
    typer.Option(
        "--decode", metavar="FILE", help="A file that tune wrote, or config for the config's. Default: the run's."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Number of processes; 0 means one per core.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kaggle-unet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only results and errors.")] = False,
    version: Annotated[  # noqa: ARG001 typer calls _version
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segmentation with U-Nets, from a folder of images or a Kaggle zip to label images and a scored submission."""
    console.debug, console.quiet = debug, quiet


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Output folder.")] = Path("demo"),
) -> None:
    """Run the whole pipeline on drawn images: about two minutes on two CPU cores."""
    from kaggle_unet.steps.demo import demo as run_demo

    run_demo(folder, console)


@app.command("make-targets")
def make_targets(
    config: ConfigPath,
    data: DataOption,
    store: StoreOption = None,
    preview: Annotated[int, typer.Option("--preview", min=0, help="Draw the first N samples with their targets.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out faulty samples.")] = False,
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option("--export", metavar="png|tiff DIR", help="Also write planes and weight maps as image files."),
    ] = None,
    workers: Workers = 0,
    overrides: Overrides = None,
) -> None:
    """Prepare samples, target planes, weight maps and folds from a zip or a folder."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.make_targets import export_targets
    from kaggle_unet.steps.make_targets import make_targets as prepare
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import store_folder

    settings = load_config(config, overrides or ())
    folder = store_folder(config, store)
    fold_file = config.parent / settings.competition.folds if settings.competition.folds else None
    workers = workers or os.cpu_count() or 1
    if export and export[0] not in {"png", "tiff"}:
        msg = f"--export {export[0]}: wanted png or tiff, and then a folder: --export png {export[1]}"
        raise ConfigError(msg)
    with console.progress() as on_progress:
        report = prepare(
            settings, data, folder, fold_file=fold_file, skip_bad=skip_bad, workers=workers, on_progress=on_progress
        )
        if export:
            export_targets(settings, folder, *export, workers=workers, on_progress=on_progress)
    console.data_report(report)
    for path in write_target_figures(settings, folder, preview):
        console.say(f"preview  {path}")
    console.next(_command("train", config, "--fold", "0", *_given("--store", store), *_repeat(overrides)))


@app.command("train")
def train(
    config: ConfigPath,
    fold: Annotated[
        str, typer.Option("--fold", help="The fold to hold out: a number, several separated by commas, or all.")
    ] = "",
    store: StoreOption = None,
    add_store: Annotated[
        list[Path] | None,
        typer.Option(
            "--add-store", metavar="DIR", help="More samples to train on in every fold; never validated. Repeatable."
        ),
    ] = None,
    run: RunOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue after the last complete epoch.")] = False,
    track: Annotated[bool, typer.Option("--track", help="Also log to TensorBoard (extra: track).")] = False,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="Number of devices on this machine, with DDP.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Number of machines, each with as many devices.")
    ] = None,
    show: Annotated[
        Path | None, typer.Option("--show-batch", metavar="PNG", help="Draw the first batch, then stop.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train one or more folds: checkpoints, metrics, curves, out-of-fold planes and score."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.run import count_folds, experiment_of, parse_folds, run_folder, store_folder
    from kaggle_unet.steps.train import show_batch, train_fold
    from kaggle_unet.training.distributed import init_distributed

    settings = load_config(config, overrides or ())
    run_path, store_path = run_folder(config, run), store_folder(config, store)
    if not fold and show is None:
        msg = "train: say which fold is left out with --fold N, or --fold all"
        raise ConfigError(msg)
    folds = parse_folds(fold or "0", count_folds(settings, store_path))
    if show is not None:
        console.say(f"batch    {show_batch(settings, store_path, folds[0], show, add=add_store or ())}")
        return
    distributed = init_distributed(settings.training, devices, nodes)
    if not distributed.is_rank_zero:
        console.silence()
    for number in folds:
        with console.training(number, settings.training.epochs) as on_event:
            result = train_fold(
                settings,
                store_path,
                run_path,
                number,
                add=add_store or (),
                resume=resume,
                track=track,
                on_event=on_event,
                on_warning=console.warn,
                distributed=distributed,
            )
        console.fold_result(number, result)
    output = Path("submissions") / experiment_of(config).with_suffix(".csv")
    console.next(_command("submit", run_path, "--data", "TEST.zip", "-o", output))


@app.command("bench-train")
def bench_train(
    experiment: RunOrConfig,
    store: StoreOption = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps per loop and round.")] = 12,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Rounds; the medians are printed.")] = 5,
    as_json: JsonOption = False,
    overrides: Overrides = None,
) -> None:
    """Measure images/s of the training loop, of the bare step on one batch, and of a plain fp32 loop."""
    from kaggle_unet.steps.bench_train import bench_train as measure
    from kaggle_unet.steps.run import open_experiment

    opened = open_experiment(experiment, overrides or (), store=store)
    with console.progress() as on_progress:
        result = measure(opened.config, opened.store, steps=steps, repeat=repeat, on_progress=on_progress)
    _show(result, console.training_speed, as_json=as_json)


@app.command("predict")
def predict(
    experiment: RunOrConfig,
    checkpoint: Checkpoints = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DATA", help="Images to predict.")] = None,
    oof: Annotated[bool, typer.Option("--oof", help="Predict each fold's own validation samples instead.")] = False,
    planes: Annotated[
        Path | None, typer.Option("--planes", metavar="DIR", help="Output folder for the planes of --data.")
    ] = None,
    store: StoreOption = None,
    overrides: Overrides = None,
) -> None:
    """Write planes of probabilities, out-of-fold or for any images."""
    from kaggle_unet.steps.predict import predict_data, predict_out_of_fold
    from kaggle_unet.steps.run import open_experiment

    opened = open_experiment(experiment, overrides or (), store=store)
    if oof == (data is not None):
        msg = "predict: say either --oof or --data DATA --planes DIR"
        raise ConfigError(msg)
    with console.progress() as on_progress:
        if oof:
            folders = predict_out_of_fold(
                opened.config, checkpoint or [opened.run], opened.store, on_progress=on_progress
            )
        else:
            if planes is None:
                msg = "predict --data: say where the planes go with --planes DIR"
                raise ConfigError(msg)
            folders = [
                predict_data(opened.config, checkpoint or [opened.run], str(data), planes, on_progress=on_progress)
            ]
    for folder in folders:
        console.say(f"planes   {folder}")


@app.command("pseudo-label")
def pseudo_label(
    experiment: RunOrConfig,
    data: DataOption,
    run: RunOption = None,
    checkpoint: Checkpoints = None,
    confidence: Annotated[
        float,
        typer.Option("--confidence", min=0, max=1, help="Keep images with at least this fraction of certain pixels."),
    ] = 0.9,
    pixel_confidence: Annotated[
        float,
        typer.Option("--pixel-confidence", min=0, max=1, help="A pixel is certain if max(p, 1 - p) is above this."),
    ] = 0.8,
    ignore_unsure: Annotated[
        bool, typer.Option("--ignore-unsure", help="Exclude the other pixels of kept images from the loss.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Output store. Default: store/<experiment>_pseudo.")
    ] = None,
    preview: Annotated[int, typer.Option("--preview", min=0, help="Draw the first N samples with their targets.")] = 0,
    overrides: Overrides = None,
) -> None:
    """Label images with a run's networks, and store the confident ones for train --add-store."""
    from kaggle_unet.steps.pseudo_label import ChoiceSettings
    from kaggle_unet.steps.pseudo_label import pseudo_label as label
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import describe_run, open_experiment, store_folder

    opened = open_experiment(experiment, overrides or (), run=run)
    folder = store or _beside(opened.store, "pseudo")
    choice = ChoiceSettings(confidence=confidence, pixel_confidence=pixel_confidence, ignore_unsure=ignore_unsure)
    with console.progress() as on_progress:
        report = label(opened.config, data, checkpoint or (), opened.run, folder, choice, on_progress=on_progress)
    console.data_report(report)
    console.confidence(report["confidence"])
    for path in write_target_figures(opened.config, folder, preview):
        console.say(f"preview  {path}")
    has_run = (opened.run / "run.json").exists()
    main = Path(describe_run(opened.run)["store"]) if has_run else opened.store
    stores = [*(() if main == store_folder(opened.config_path, None) else ("--store", main)), "--add-store", folder]
    run_words = ("--run", _beside(opened.run, "pseudo"))
    console.next(_command("train", opened.config_path, "--fold", "0", *stores, *run_words, *_repeat(overrides)))


@app.command("submit")
def submit(
    experiment: RunOrConfig,
    data: DataOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="The submission to write.")],
    checkpoint: Checkpoints = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="DIR", help="Also write one label TIFF per image.")
    ] = None,
    decode: DecodeOption = None,
    second_level: Annotated[
        str | None,
        typer.Option(
            "--second-level", metavar="DIR", help="A folder that second-level wrote, or none. Default: the run's."
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Predict with the average of a run's checkpoints, decode, and write a CSV with its manifest."""
    from kaggle_unet.steps.run import open_experiment
    from kaggle_unet.steps.submit import submit as write

    opened = open_experiment(experiment, overrides or ())
    with console.progress() as on_progress:
        written = write(
            opened.config,
            data,
            checkpoint or [opened.run],
            output,
            labels_folder=labels,
            decode=decode,
            second_level=second_level,
            overrides=overrides or (),
            on_progress=on_progress,
        )
    console.submission(written)


@app.command("vote")
def vote(
    experiment: RunOrConfig,
    csv: Annotated[list[Path], typer.Option("--csv", metavar="CSV", help="A submission. Repeatable; at least two.")],
    data: DataOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="The submission to write.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(
            "--weight",
            metavar="NUMBER",
            help="Weight of each --csv, in order; 1 by default. Repeatable.",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Combine several CSVs into the one that most of them support, object by object and pixel by pixel."""
    from kaggle_unet.steps.run import open_experiment
    from kaggle_unet.steps.vote import vote as combine

    config = open_experiment(experiment, overrides or ()).config
    with console.progress() as on_progress:
        written = combine(config, csv, data, output, weights=weight, on_progress=on_progress)
    console.submission(written)


@app.command("tune")
def tune(
    experiment: RunOrConfig,
    run: RunOption = None,
    store: MovedStore = None,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", metavar="DIR", help="Another run to average with; its weight is searched, too. Repeatable."
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials per search; a larger number continues an earlier one.")
    ] = 200,
    overrides: Overrides = None,
    as_json: JsonOption = False,
) -> None:
    """Search decode parameters on out-of-fold planes; submit uses the result."""
    from kaggle_unet.steps.run import open_experiment
    from kaggle_unet.steps.tune import tune as search

    opened = open_experiment(experiment, overrides or (), run=run)
    with console.progress() as on_progress:
        result = search(
            opened.config,
            opened.run,
            store,
            others=others or (),
            n_trials=trials,
            workers=os.cpu_count() or 1,
            on_progress=on_progress,
        )
    _show(result, console.tuned, as_json=as_json)


@app.command("second-level")
def second_level(
    experiment: RunOrConfig,
    store: MovedStore = None,
    decode: DecodeOption = None,
    workers: Workers = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn from out-of-fold planes which splits to trust; submit uses the result."""
    from kaggle_unet.steps.run import open_experiment
    from kaggle_unet.steps.second_level import learn_second_level

    run = open_experiment(experiment).run
    with console.progress() as on_progress:
        result = learn_second_level(
            run, store, decode=decode, workers=workers or os.cpu_count() or 1, on_progress=on_progress
        )
    _show(result, lambda found: console.second_level(run, found), as_json=as_json)


@app.command("check")
def check(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="A submission.")],
    data: DataOption,
    competition: CompetitionOption,
    images: Annotated[str, typer.Option("--images", help="Subfolder of the images (folder only).")] = "images",
) -> None:
    """Check a submission against every rule of its competition; the exit code is 0 or 3."""
    from kaggle_unet.steps.check import check_submission

    console.verdict(csv, check_submission(csv, data, competition, images=images))


@app.command("score")
def score(
    csv_or_run: Annotated[
        Path | None,
        typer.Argument(metavar="CSV_OR_RUN", help="A submission, or a run's folder for its out-of-fold score."),
    ] = None,
    truth: Annotated[
        str | None, typer.Option("--truth", metavar="DATA", help="The truth: whatever --data takes, or a CSV.")
    ] = None,
    competition: Annotated[
        str | None, typer.Option("--competition", metavar="NAME", help="The competition whose metric is used.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="DIR", help="The run's folder; older spelling.")] = None,
    store: MovedStore = None,
    images: Annotated[str, typer.Option("--images", help="Subfolder of the images (folder only).")] = "images",
    masks: Annotated[str, typer.Option("--masks", help="Subfolder of the masks (folder only).")] = "masks",
    decode: DecodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a submission against the truth, or a run on its out-of-fold planes."""
    from kaggle_unet.steps.run import open_experiment
    from kaggle_unet.steps.score import score_csv, score_run

    given = csv_or_run or run
    if given is not None and truth is not None and competition is not None:
        result = score_csv(given, truth, competition, images=images, masks=masks)
    elif given is not None and given.suffix != ".csv" and truth is None and competition is None:
        result = score_run(open_experiment(given, run=run).run, store, decode=decode)
    else:
        msg = "score: say either RUN, or CSV --truth DATA --competition NAME"
        raise ConfigError(msg)
    _show(result, console.scores, as_json=as_json)


@app.command("report")
def report(
    experiment: RunOrConfig,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page to write. Default: RUN/report.html.")
    ] = None,
    store: MovedStore = None,
    decode: DecodeOption = None,
) -> None:
    """Write an HTML page with every out-of-fold prediction beside its truth, worst first."""
    from kaggle_unet.steps.report import write_report
    from kaggle_unet.steps.run import open_experiment

    run = open_experiment(experiment).run
    console.say(f"report   {write_report(run, output or run / 'report.html', store, decode=decode)}")


@app.command("doctor")
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine and the installed packages."""
    from kaggle_unet.steps.doctor import examine

    _show(examine(), console.stats, as_json=as_json)


def _show(result: Any, show: Callable[[Any], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result if isinstance(result, dict) else result.to_json(), indent=2))
    else:
        show(result)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}_{suffix}")


def _command(*words: object) -> str:
    """Spell a command that can be pasted."""
    return shlex.join(["kaggle-unet", *map(str, words)])


def _given(option: str, value: object) -> list[object]:
    return [] if value is None else [option, value]


def _repeat(overrides: list[str] | None) -> list[str]:
    return [word for override in overrides or () for word in ("--set", override)]


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminate(_signal: int, _frame: FrameType | None) -> Never:
    raise _Terminated


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line and end the process with the code that fits."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(arguments)
    except KitError as error:
        _fail(error, error.exit_code)
    except _Terminated:
        goes_on = "the same command with --resume" if "train" in (arguments or sys.argv) else "the same command"
        console.error(f"stopped by SIGTERM; what was finished is kept, and {goes_on} continues")
        sys.exit(143)
    except MemoryError as error:
        _fail(error, 4)
    except Exception as error:  # noqa: BLE001 the last place where a fault can become a message
        _fail(error, 1)
    sys.exit(0)


def _fail(error: BaseException, code: int) -> Never:
    if console.debug:
        raise error
    message: Any = error
    if code == 1 and not isinstance(error, KitError):
        message = (
            f"{type(error).__name__}: {error}\nThis is a fault of kaggle-unet; --debug before the verb shows where."
        )
    console.error(str(message))
    sys.exit(code)
