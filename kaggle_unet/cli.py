"""The command line: read options, call one step, print its result.

Exit codes: 0 done, 1 our bug, 2 usage or config, 3 bad data, 4 resource, 5 locked, 130 Ctrl-C, 143 SIGTERM. Nothing
heavy is imported before a verb needs it, so that `--help` answers at once.
"""

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Never

import typer

from kaggle_unet import __version__
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.run import experiment_of, run_folder, store_folder

app = typer.Typer(
    name="kaggle-unet",
    help="Segmentation competitions from the zip to the CSV: targets, U-Nets, watershed, RLE, scores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")]
DataOption = Annotated[
    str, typer.Option("--data", metavar="DATA", help="A zip, a folder, or a place inside a zip: x.zip:dsb2018/train.")
]
StoreOption = Annotated[Path | None, typer.Option("--store", metavar="DIR", help="Default: store/<experiment>.")]
RunOption = Annotated[Path | None, typer.Option("--run", metavar="DIR", help="Default: runs/<experiment>.")]
Checkpoints = Annotated[
    list[Path], typer.Option("--checkpoint", metavar="PATH", help="A file, or a fold's folder (its best). Repeatable.")
]
CompetitionOption = Annotated[
    str, typer.Option("--competition", metavar="NAME", help="dsb2018, tgs or folder (the DSB2018 rules).")
]
DecodeOption = Annotated[
    str | None,
    typer.Option("--decode", metavar="FILE", help="As tune writes it; config for the config's. Default: the run's."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 takes one per core.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kaggle-unet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")] = False,
    version: Annotated[  # noqa: ARG001 typer calls _version
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Segmentation competitions from the zip to the CSV: targets, U-Nets, watershed, RLE, scores."""
    console.debug, console.quiet = debug, quiet


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where everything is written.")] = Path(
        "demo"
    ),
) -> None:
    """Do everything below on images it draws itself: about two minutes on two CPU cores."""
    from kaggle_unet.steps.demo import demo as run_demo

    run_demo(folder, console)


@app.command("make-targets")
def make_targets(
    config: ConfigPath,
    data: DataOption,
    store: StoreOption = None,
    preview: Annotated[int, typer.Option("--preview", min=0, help="Pictures of the first N samples.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out faulty samples.")] = False,
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option("--export", metavar="png|tiff DIR", help="Also write planes and weight maps as image files."),
    ] = None,
    workers: Workers = 0,
    overrides: Overrides = None,
) -> None:
    """Prepare samples, planes, weight maps and folds from a zip or folder."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.make_targets import export_targets
    from kaggle_unet.steps.make_targets import make_targets as prepare
    from kaggle_unet.steps.report import write_target_figures

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
    fold: Annotated[str, typer.Option("--fold", help="A number, several with commas, or all.")] = "",
    store: StoreOption = None,
    add_store: Annotated[
        list[Path] | None,
        typer.Option("--add-store", metavar="DIR", help="More to train on in every fold, never validated. Repeatable."),
    ] = None,
    run: RunOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last whole epoch.")] = False,
    track: Annotated[bool, typer.Option("--track", help="Write TensorBoard files (extra: track).")] = False,
    devices: Annotated[int | None, typer.Option("--devices", min=1, help="Of this machine, with DDP.")] = None,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Machines with as many devices each.")] = None,
    show: Annotated[
        Path | None, typer.Option("--show-batch", metavar="PNG", help="Draw what the network sees first, and stop.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Fit one fold or several: checkpoints, metrics, curves, out-of-fold planes and score."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.run import count_folds, fold_folder, parse_folds
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
    checkpoints = [word for number in folds for word in ("--checkpoint", fold_folder(run_path, number))]
    output = Path("submissions") / experiment_of(config).with_suffix(".csv")
    console.next(_command("submit", config, "--data", "TEST.zip", *checkpoints, "-o", output, *_repeat(overrides)))


@app.command("bench-train")
def bench_train(
    config: ConfigPath,
    store: StoreOption = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each loop in each round.")] = 12,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Rounds; medians are printed.")] = 5,
    as_json: JsonOption = False,
    overrides: Overrides = None,
) -> None:
    """Measure images/s of the real loop, of the bare step on one batch, and of a plain fp32 loop, in one run."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.bench_train import bench_train as measure

    settings = load_config(config, overrides or ())
    with console.progress() as on_progress:
        result = measure(settings, store_folder(config, store), steps=steps, repeat=repeat, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        console.training_speed(result)


@app.command("predict")
def predict(
    config: ConfigPath,
    checkpoint: Checkpoints,
    data: Annotated[str | None, typer.Option("--data", metavar="DATA", help="Images to predict.")] = None,
    oof: Annotated[bool, typer.Option("--oof", help="Each fold's own validation samples instead.")] = False,
    planes: Annotated[Path | None, typer.Option("--planes", metavar="DIR", help="Where --data's planes go.")] = None,
    store: StoreOption = None,
    overrides: Overrides = None,
) -> None:
    """Write planes of probabilities: out-of-fold, or for any images."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.predict import predict_data, predict_out_of_fold

    settings = load_config(config, overrides or ())
    if oof == (data is not None):
        msg = "predict: say either --oof or --data DATA --planes DIR"
        raise ConfigError(msg)
    with console.progress() as on_progress:
        if oof:
            folders = predict_out_of_fold(settings, checkpoint, store_folder(config, store), on_progress=on_progress)
        else:
            if planes is None:
                msg = "predict --data: say where the planes go with --planes DIR"
                raise ConfigError(msg)
            folders = [predict_data(settings, checkpoint, str(data), planes, on_progress=on_progress)]
    for folder in folders:
        console.say(f"planes   {folder}")


@app.command("pseudo-label")
def pseudo_label(
    config: ConfigPath,
    data: DataOption,
    run: RunOption = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="PATH", help="Default: the best of each of the run's folds. Repeatable."),
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0, max=1, help="Keep images with at least this share of sure pixels.")
    ] = 0.9,
    pixel_confidence: Annotated[
        float, typer.Option("--pixel-confidence", min=0, max=1, help="A pixel is sure if max(p, 1 - p) is above this.")
    ] = 0.8,
    ignore_unsure: Annotated[
        bool, typer.Option("--ignore-unsure", help="Other pixels of a kept image count in no loss.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Written. Default: store/<experiment>_pseudo.")
    ] = None,
    preview: Annotated[int, typer.Option("--preview", min=0, help="Pictures of the first N samples.")] = 0,
    overrides: Overrides = None,
) -> None:
    """Label images by networks, and store those they are sure of for train --add-store."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.pseudo_label import ChoiceSettings
    from kaggle_unet.steps.pseudo_label import pseudo_label as label
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import describe_run

    settings = load_config(config, overrides or ())
    run_path = run_folder(config, run)
    folder = store or _beside(store_folder(config, None), "pseudo")
    choice = ChoiceSettings(confidence=confidence, pixel_confidence=pixel_confidence, ignore_unsure=ignore_unsure)
    with console.progress() as on_progress:
        report = label(settings, data, checkpoint or (), run_path, folder, choice, on_progress=on_progress)
    console.data_report(report)
    _say_confidence(report["confidence"])
    for path in write_target_figures(settings, folder, preview):
        console.say(f"preview  {path}")
    main = Path(describe_run(run_path)["store"]) if (run_path / "run.json").exists() else store_folder(config, None)
    stores = [*(() if main == store_folder(config, None) else ("--store", main)), "--add-store", folder]
    run_words = ("--run", _beside(run_path, "pseudo"))
    console.next(_command("train", config, "--fold", "0", *stores, *run_words, *_repeat(overrides)))


@app.command("submit")
def submit(
    config: ConfigPath,
    data: DataOption,
    checkpoint: Checkpoints,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="The submission.")],
    labels: Annotated[Path | None, typer.Option("--labels", metavar="DIR", help="Also write label TIFFs.")] = None,
    decode: DecodeOption = None,
    second_level: Annotated[
        str | None,
        typer.Option(
            "--second-level", metavar="DIR", help="What chooses among splits; none for none. Default: the run's."
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Predict with the mean of all checkpoints, decode, and write a CSV with its manifest."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.submit import submit as write

    settings = load_config(config, overrides or ())
    with console.progress() as on_progress:
        manifest = write(
            settings,
            data,
            checkpoint,
            output,
            labels_folder=labels,
            decode=decode,
            second_level=second_level,
            overrides=overrides or (),
            on_progress=on_progress,
        )
    console.submission(output, manifest)


@app.command("vote")
def vote(
    config: ConfigPath,
    csv: Annotated[
        list[Path], typer.Option("--csv", metavar="CSV", help="A submission. Repeatable; at least two are needed.")
    ],
    data: DataOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="The submission that is written.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(
            "--weight",
            metavar="NUMBER",
            help="How much a --csv counts: one for each, in their order; 1 by default. Repeatable.",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write the CSV that most of several CSVs support, object by object and pixel by pixel."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.vote import vote as combine

    settings = load_config(config, overrides or ())
    with console.progress() as on_progress:
        manifest = combine(settings, csv, data, output, weights=weight, on_progress=on_progress)
    console.submission(output, manifest)


@app.command("tune")
def tune(
    config: ConfigPath,
    run: RunOption = None,
    store: Annotated[Path | None, typer.Option("--store", metavar="DIR", help="The run's store, if it moved.")] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="DIR", help="A run to average --run with; its weight is searched. Repeatable."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Points per search; a larger number goes on.")] = 200,
    overrides: Overrides = None,
    as_json: JsonOption = False,
) -> None:
    """Search decode parameters on out-of-fold planes; submit takes what is found."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.tune import tune as search

    settings, path = load_config(config, overrides or ()), run_folder(config, run)
    with console.progress() as on_progress:
        result = search(
            settings,
            path,
            store,
            others=others or (),
            n_trials=trials,
            workers=os.cpu_count() or 1,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        console.tuned(Path(result["folder"]), result)


@app.command("second-level")
def second_level(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    store: Annotated[Path | None, typer.Option("--store", metavar="DIR", help="Its store, if it moved.")] = None,
    decode: DecodeOption = None,
    workers: Workers = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn on out-of-fold planes which way of splitting to believe; submit takes what is found."""
    from kaggle_unet.steps.second_level import learn_second_level

    with console.progress() as on_progress:
        result = learn_second_level(
            run, store, decode=decode, workers=workers or os.cpu_count() or 1, on_progress=on_progress
        )
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        console.second_level(run, result)


@app.command("check")
def check(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="A submission.")],
    data: DataOption,
    competition: CompetitionOption,
    images: Annotated[str, typer.Option("--images", help="folder only: subfolder of the images.")] = "images",
) -> None:
    """Hold a submission against every rule of its competition; ends with 0 or 3."""
    from kaggle_unet.steps.check import check as verify

    console.verdict(csv, verify(csv, data, competition, images=images))


@app.command("score")
def score(
    csv: Annotated[Path | None, typer.Argument(metavar="[CSV]", help="A submission.")] = None,
    truth: Annotated[str | None, typer.Option("--truth", metavar="DATA", help="What --data takes, or a CSV.")] = None,
    competition: Annotated[str | None, typer.Option("--competition", metavar="NAME", help="Whose metric.")] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="DIR", help="A run: its out-of-fold score.")] = None,
    store: Annotated[Path | None, typer.Option("--store", metavar="DIR", help="--run's store, if it moved.")] = None,
    images: Annotated[str, typer.Option("--images", help="folder only: subfolder of the images.")] = "images",
    masks: Annotated[str, typer.Option("--masks", help="folder only: subfolder of the masks.")] = "masks",
    decode: DecodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a submission against the truth, or a run on its out-of-fold planes."""
    from kaggle_unet.steps.score import score_csv, score_run

    if run is not None and csv is None:
        result = score_run(run, store, decode=decode)
    elif csv is not None and truth is not None and competition is not None:
        result = score_csv(csv, truth, competition, images=images, masks=masks)
    else:
        msg = "score: say either CSV --truth DATA --competition NAME, or --run DIR"
        raise ConfigError(msg)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        console.scores(result)


@app.command("report")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: RUN/report.html.")] = None,
    store: Annotated[Path | None, typer.Option("--store", metavar="DIR", help="Its store, if it moved.")] = None,
    decode: DecodeOption = None,
) -> None:
    """Write one HTML file: every out-of-fold prediction beside its truth, worst first."""
    from kaggle_unet.steps.report import write_report

    console.say(f"report   {write_report(run, output or run / 'report.html', store, decode=decode)}")


@app.command("doctor")
def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine has and whether the packages fit together."""
    from kaggle_unet.steps.doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        console.stats(found)


def _say_confidence(found: dict[str, Any]) -> None:
    console.say("confidence: " + ", ".join(f"p{mark} {value:.4f}" for mark, value in found["quantiles"]))
    console.say("kept at confidence: " + ", ".join(f"{bound:g} {count}" for bound, count in found["kept_at"]))
    console.say(f"kept     {found['kept']} of {found['images']} images; {found['constant']} constant ones are left out")


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
        console.error(f"stopped by SIGTERM; what was finished is kept, and {goes_on} goes on")
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
