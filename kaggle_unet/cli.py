"""The command line: read options, call one step, print its result.

Exit codes: 0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM. Nothing
heavy is imported before a verb needs it, so that `--help` answers at once.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Never

import typer

from kaggle_unet import __version__
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.steps import options
from kaggle_unet.steps.console import Console

if TYPE_CHECKING:
    from kaggle_unet.steps.run import Experiment

app = typer.Typer(
    name="kaggle-unet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()
_STOPPED_BY = {130: "Ctrl-C", 143: "SIGTERM"}
_CONTINUING = dict.fromkeys(("make-targets", "predict", "tune"), "the same command") | {
    "train": "the same command with --resume"
}


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


@app.command("demo")
def demo(folder: options.DemoFolder = Path("demo")) -> None:
    """Run the whole pipeline on drawn images: about two minutes on two CPU cores."""
    from kaggle_unet.steps.demo import demo as run_demo

    run_demo(folder, console)


@app.command("make-targets")
def make_targets(
    config: options.ConfigPath,
    data: options.Data,
    store: options.Store = None,
    preview: options.Preview = 0,
    skip_bad: options.SkipBad = False,
    export: options.Export = None,
    workers: options.Workers = 0,
    overrides: options.Overrides = None,
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
        msg = f"--export {export[0]}: expected png or tiff, and then a folder: --export png {export[1]}"
        raise ConfigError(msg)
    with console.progress() as on_progress:
        report = prepare(
            settings, data, folder, fold_file=fold_file, skip_bad=skip_bad, workers=workers, on_progress=on_progress
        )
        if export:
            export_targets(settings, folder, *export, workers=workers, on_progress=on_progress)
    console.data_report(report)
    if export:
        console.say(f"export   {export[1]}")
    for path in write_target_figures(settings, folder, preview):
        console.say(f"preview  {path}")
    places = ("--store", store) if store else ()
    console.next("kaggle-unet", "train", config, "--fold", 0, *places, *_repeat(overrides))


@app.command("train")
def train(
    config: options.ConfigPath,
    fold: options.Folds = "",
    store: options.Store = None,
    add_store: options.AddedStores = None,
    run: options.Run = None,
    resume: options.Resume = False,
    track: options.Track = False,
    devices: options.Devices = None,
    nodes: options.Nodes = None,
    show: options.ShowBatch = None,
    overrides: options.Overrides = None,
) -> None:
    """Train one or more folds: checkpoints, metrics, curves, out-of-fold planes and score."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.run import count_folds, experiment_of, parse_folds, run_folder, store_folder
    from kaggle_unet.steps.train import show_batch, train_fold
    from kaggle_unet.training.distributed import init_distributed

    settings = load_config(config, overrides or ())
    run_path, store_path = run_folder(config, run), store_folder(config, store)
    folds = parse_folds(fold or ("0" if show else ""), count_folds(settings, store_path))
    if show is not None:
        console.say(f"batch    {show_batch(settings, store_path, folds[0], show, add=add_store or ())}")
        return
    distributed = init_distributed(settings.training, devices, nodes)
    if not distributed.is_rank_zero:
        console.silence()
    fit = partial(train_fold, settings, store_path, run_path, add=add_store or (), resume=resume, track=track)
    for number in folds:
        with console.training(number, settings.training.epochs) as on_event:
            result = fit(number, on_event=on_event, on_warning=console.warn, distributed=distributed)
        console.fold_result(result)
    output = Path("submissions") / experiment_of(config).with_suffix(".csv")
    test = ("FOLDER", "--labels", "labels") if settings.competition.name == "folder" else ("TEST.zip",)
    console.next("kaggle-unet", "submit", run_path, "--data", *test, "-o", output)


@app.command("bench-train")
def bench_train(
    experiment: options.RunOrConfig,
    store: options.Store = None,
    steps: options.Steps = 12,
    repeat: options.Rounds = 5,
    as_json: options.Json = False,
    overrides: options.Overrides = None,
) -> None:
    """Measure images/s of the training loop, of the bare step on one batch, and of a plain fp32 loop."""
    from kaggle_unet.steps.bench_train import bench_train as measure

    opened = _open(experiment, overrides, store=store)
    with console.progress() as on_progress:
        result = measure(opened.config, opened.store, steps=steps, repeat=repeat, on_progress=on_progress)
    console.result(result, console.training_speed, as_json=as_json)


@app.command("predict")
def predict(
    experiment: options.RunOrConfig,
    checkpoint: options.Checkpoints = None,
    data: options.DataToPredict = None,
    oof: options.OutOfFold = False,
    planes: options.PlanesFolder = None,
    store: options.Store = None,
    overrides: options.Overrides = None,
) -> None:
    """Write planes of probabilities, out-of-fold or for any images."""
    from kaggle_unet.steps.predict import predict_data, predict_out_of_fold

    opened = _open(experiment, overrides, store=store)
    checkpoints = checkpoint or [opened.run]
    with console.progress() as on_progress:
        if oof and data is None:
            folders = predict_out_of_fold(opened.config, checkpoints, opened.store, on_progress=on_progress)
        elif data is not None and planes is not None and not oof:
            folders = [predict_data(opened.config, checkpoints, data, planes, on_progress=on_progress)]
        else:
            msg = "predict: give either --oof, or --data DATA and --planes DIR, the folder for its planes"
            raise ConfigError(msg)
    for folder in folders:
        console.say(f"planes   {folder}")


@app.command("pseudo-label")
def pseudo_label(
    experiment: options.RunOrConfig,
    data: options.Data,
    run: options.Run = None,
    checkpoint: options.Checkpoints = None,
    confidence: options.Confidence = 0.9,
    pixel_confidence: options.PixelConfidence = 0.8,
    ignore_unsure: options.IgnoreUnsure = False,
    store: options.PseudoStore = None,
    preview: options.Preview = 0,
    overrides: options.Overrides = None,
) -> None:
    """Label images with a run's networks, and store the confident ones for train --add-store."""
    from kaggle_unet.steps.pseudo_label import Choice
    from kaggle_unet.steps.pseudo_label import pseudo_label as label
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import describe_run, store_folder

    opened = _open(experiment, overrides, run=run)
    usual = store_folder(experiment, None)
    folder = store or usual.with_name(f"{usual.name}_pseudo")
    choice = Choice(confidence, pixel_confidence, ignore_unsure)
    with console.progress() as on_progress:
        report = label(opened.config, data, checkpoint or (), opened.run, folder, choice, on_progress=on_progress)
    console.data_report(report)
    for path in write_target_figures(opened.config, folder, preview):
        console.say(f"preview  {path}")
    has_run = (opened.run / "run.json").exists()
    main = Path(describe_run(opened.run)["store"]) if has_run else opened.store
    stores = [*(() if main == store_folder(opened.config_path, None) else ("--store", main)), "--add-store", folder]
    words = ("--fold", 0, *stores, "--run", f"{opened.run}_pseudo", *_repeat(overrides))
    console.next("kaggle-unet", "train", opened.config_path, *words)


@app.command("submit")
def submit(
    experiment: options.RunOrConfig,
    data: options.Data,
    output: options.OutputCsv,
    checkpoint: options.Checkpoints = None,
    labels: options.LabelsFolder = None,
    decode: options.Decode = None,
    second_level: options.SecondLevel = None,
    overrides: options.Overrides = None,
) -> None:
    """Predict with the average of a run's checkpoints, decode, and write a CSV with its manifest."""
    from kaggle_unet.steps.submit import submit as write

    opened = _open(experiment, overrides)
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
    experiment: options.RunOrConfig,
    csv: options.Csvs,
    data: options.Data,
    output: options.OutputCsv,
    weight: options.Weights = None,
    overrides: options.Overrides = None,
) -> None:
    """Combine several CSVs into the one that most of them support, object by object and pixel by pixel."""
    from kaggle_unet.steps.vote import vote as combine

    config = _open(experiment, overrides).config
    with console.progress() as on_progress:
        written = combine(config, csv, data, output, weights=weight, on_progress=on_progress)
    console.submission(written)


@app.command("tune")
def tune(
    experiment: options.RunOrConfig,
    run: options.Run = None,
    store: options.MovedStore = None,
    others: options.OtherRuns = None,
    trials: options.Trials = 200,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Search decode parameters on out-of-fold planes; submit uses the result."""
    from kaggle_unet.steps.tune import tune as search

    opened = _open(experiment, overrides, run=run)
    with console.progress() as on_progress:
        how = {"n_trials": trials, "workers": os.cpu_count() or 1}
        result = search(opened.config, opened.run, store, others=others or (), **how, on_progress=on_progress)
    console.result(result, console.tuned, as_json=as_json)


@app.command("second-level")
def second_level(
    experiment: options.RunOrConfig,
    store: options.MovedStore = None,
    decode: options.Decode = None,
    workers: options.Workers = 0,
    as_json: options.Json = False,
) -> None:
    """Learn from out-of-fold planes which splits to trust; submit uses the result."""
    from kaggle_unet.steps.second_level import learn_second_level

    run, workers = _open(experiment).run, workers or os.cpu_count() or 1
    with console.progress() as on_progress:
        result = learn_second_level(run, store, decode=decode, workers=workers, on_progress=on_progress)
    console.result(result, lambda found: console.second_level(run, found), as_json=as_json)


@app.command("check")
def check(
    csv: options.CsvPath, data: options.Data, competition: options.Competition, images: options.Images = "images"
) -> None:
    """Check a submission against every rule of its competition; the exit code is 0 or 3."""
    from kaggle_unet.steps.check import check_submission

    for warning in check_submission(csv, data, competition, images=images):
        console.warn(warning)
    console.say(f"ok       {csv} follows every rule")


@app.command("score")
def score(
    csv_or_run: options.CsvOrRun = None,
    truth: options.Truth = None,
    competition: options.Metric = None,
    run: options.ScoredRun = None,
    store: options.MovedStore = None,
    images: options.Images = "images",
    masks: options.Masks = "masks",
    decode: options.Decode = None,
    as_json: options.Json = False,
) -> None:
    """Score a submission against the truth, or a run on its out-of-fold planes."""
    from kaggle_unet.steps.score import score_csv, score_run

    given = csv_or_run or run
    if given is not None and truth is not None and competition is not None:
        result = score_csv(given, truth, competition, images=images, masks=masks)
    elif given is not None and given.suffix != ".csv" and truth is None and competition is None:
        result = score_run(_open(given, run=run).run, store, decode=decode)
    else:
        msg = "score: give either RUN, or CSV --truth DATA --competition NAME"
        raise ConfigError(msg)
    console.result(result, console.scores, as_json=as_json)


@app.command("report")
def report(
    experiment: options.RunOrConfig,
    output: options.OutputPage = None,
    store: options.MovedStore = None,
    decode: options.Decode = None,
) -> None:
    """Write an HTML page with every out-of-fold prediction beside its truth, worst first."""
    from kaggle_unet.steps.report import write_report

    run = _open(experiment).run
    console.say(f"report   {write_report(run, output or run / 'report.html', store, decode=decode)}")


@app.command("doctor")
def doctor(as_json: options.Json = False) -> None:
    """Check this machine and the installed packages."""
    from kaggle_unet.steps.provenance import examine

    console.result(examine(), console.stats, as_json=as_json)


def _open(given: Path, overrides: list[str] | None = None, **places: Path | None) -> "Experiment":
    from kaggle_unet.steps.run import open_experiment

    return open_experiment(given, overrides or (), **places)


def _repeat(overrides: list[str] | None) -> list[str]:
    return [word for override in overrides or () for word in ("--set", override)]


def _terminate(_signal: int, _frame: FrameType | None) -> Never:
    sys.exit(143)


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line and end the process with the code that fits."""
    signal.signal(signal.SIGTERM, _terminate)
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
        console.fail(error, 4)
    except Exception as error:  # noqa: BLE001 the last place where a fault can become a message
        console.fail(error, 1)
    sys.exit(0)
