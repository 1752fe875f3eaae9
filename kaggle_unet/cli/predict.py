"""Verbs that apply trained networks: predict, pseudo-label, submit, segment, vote, export, check."""

from pathlib import Path
from typing import Any

from kaggle_unet.cli import options
from kaggle_unet.cli.base import console, open_run, repeat, runs_networks
from kaggle_unet.errors import ConfigError


@runs_networks
def predict(
    experiment: options.RunConfigOrModel,
    checkpoint: options.Checkpoints = None,
    data: options.DataToPredict = None,
    oof: options.OutOfFold = False,
    planes: options.PlanesFolder = None,
    store: options.Store = None,
    skip_bad: options.SkipBadImages = False,
    shard: options.Shard = None,
    dry_run: options.DryRun = False,
    overrides: options.Overrides = None,
) -> None:
    """Write planes of probabilities, out-of-fold or for any images."""
    from kaggle_unet.steps.predict import predict_data, predict_out_of_fold

    opened = open_run(experiment, overrides, store=store, may_be_exported=not oof)
    checkpoints = checkpoint or [opened.run]
    set_aside: dict[str, str] | None = {} if skip_bad else None
    found: list[Any]
    with console.progress() as on_progress:
        how: dict[str, Any] = {"on_progress": on_progress, "dry_run": dry_run}
        if oof and data is None and planes is None and shard is None and not skip_bad:
            found = predict_out_of_fold(opened.config, checkpoints, opened.store, **how)
        elif data is not None and planes is not None and not oof:
            how |= {"shard": shard, "set_aside": set_aside}
            found = [predict_data(opened.config, checkpoints, data, planes, **how)]
        else:
            msg = "predict: give either --oof, or --data DATA and --planes DIR, the folder of its planes; to these "
            raise ConfigError(msg + "alone --shard and --skip-bad belong")
    console.warn_of([f"set aside: {reason}" for reason in (set_aside or {}).values()])
    if dry_run:
        console.estimate(found)
    else:
        console.wrote(planes=found)


@runs_networks
def pseudo_label(
    experiment: options.RunOrConfig,
    data: options.Data,
    run: options.Run = None,
    checkpoint: options.Checkpoints = None,
    confidence: options.Confidence = 0.9,
    pixel_confidence: options.PixelConfidence = 0.8,
    ignore_unsure: options.IgnoreUnsure = False,
    decode: options.Decode = None,
    second_level: options.SecondLevel = None,
    store: options.PseudoStore = None,
    preview: options.Preview = 0,
    overrides: options.Overrides = None,
) -> None:
    """Label images with a run's networks, and store the confident ones for train --add-store."""
    from kaggle_unet.steps.pseudo_label import Choice
    from kaggle_unet.steps.pseudo_label import pseudo_label as label
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import describe_run, store_folder

    opened = open_run(experiment, overrides, run=run)
    usual = store_folder(experiment, None)
    folder = store or usual.with_name(f"{usual.name}_pseudo")
    choice = Choice(confidence, pixel_confidence, ignore_unsure)
    how: dict[str, Any] = {
        "decode": decode,
        "second_level": second_level,
        "overrides": overrides or (),
        "on_warning": console.warn,
    }
    with console.progress() as on_progress:
        report = label(
            opened.config, data, checkpoint or (), opened.run, folder, choice, **how, on_progress=on_progress
        )
    console.result(report, console.data_report)
    console.wrote(store=folder, preview=write_target_figures(opened.config, folder, preview))
    has_run = (opened.run / "run.json").exists()
    main = Path(describe_run(opened.run)["store"]) if has_run else opened.store
    stores = [*(() if main == store_folder(opened.config_path, None) else ("--store", main)), "--add-store", folder]
    words = ("--fold", 0, *stores, "--run", f"{opened.run}_pseudo", *repeat(overrides))
    console.next("kaggle-unet", "train", opened.config_path, *words)


@runs_networks
def submit(
    experiment: options.RunConfigOrModel,
    data: options.Data,
    output: options.OutputCsv,
    checkpoint: options.Checkpoints = None,
    labels: options.LabelsFolder = None,
    decode: options.Decode = None,
    second_level: options.SecondLevel = None,
    shard: options.Shard = None,
    time_budget: options.TimeBudget = None,
    skip_bad: options.SkipBadImages = False,
    dry_run: options.DryRun = False,
    overrides: options.Overrides = None,
) -> None:
    """Predict with the average of a run's checkpoints, decode, and write a CSV with its manifest."""
    from kaggle_unet.steps.submit import submit as write

    opened = open_run(experiment, overrides, may_be_exported=True)
    with console.progress() as on_progress:
        how: dict[str, Any] = {"decode": decode, "second_level": second_level, "overrides": overrides or ()}
        how |= {"labels_folder": labels, "time_budget_s": time_budget, "skip_bad": skip_bad, "shard": shard}
        how |= {"dry_run": dry_run, "on_progress": on_progress}
        written: Any = write(opened.config, data, checkpoint or [opened.run], output, **how)
    if dry_run:
        console.estimate([written])
    elif written is None:
        console.wrote(shard=str(shard))
    else:
        console.result(written, console.submission)


@runs_networks
def segment(
    experiment: options.RunConfigOrModel,
    images: options.ImagePlaces,
    output: options.OutputFolder,
    formats: options.LabelFormats = None,
    pixel_size: options.PixelSize = None,
    checkpoint: options.Checkpoints = None,
    decode: options.Decode = None,
    report: options.SegmentReport = False,
    skip_bad: options.SkipBadImages = False,
    shard: options.Shard = None,
    overrides: options.Overrides = None,
) -> None:
    """Find the objects in any images, and write label images, overlays and measurements."""
    from kaggle_unet.io.slides import is_slide
    from kaggle_unet.steps.segment import segment as write
    from kaggle_unet.steps.slide import segment_slides

    opened = open_run(experiment, overrides, may_be_exported=True)
    checkpoints = checkpoint or [opened.run]
    with console.progress() as on_progress:
        how: dict[str, Any] = {"decode": decode, "overrides": overrides or (), "on_progress": on_progress}
        how |= {"pixel_size": pixel_size, "shard": shard}
        if any(map(is_slide, images)):
            if formats or report or skip_bad or not all(map(is_slide, images)):
                msg = "slides (OME-Zarr, TIFFs of more pixels than are read at once) are segmented apart from other "
                raise ConfigError(f"{msg}images, and without --format, --report and --skip-bad")
            slides = segment_slides(opened.config, checkpoints, list(map(Path, images)), output, **how)
            console.result(slides, console.segmented_slides)
            return
        how |= {"formats": formats or (), "report": report, "skip_bad": skip_bad}
        written = write(opened.config, checkpoints, images, output, **how)
    if shard is not None:
        console.wrote(shard=str(shard))
        return
    console.result(written, console.segmented)
    if report:
        console.wrote(report=output / "report.html")


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

    config = open_run(experiment, overrides).config
    with console.progress() as on_progress:
        written = combine(config, csv, data, output, weights=weight, on_progress=on_progress)
    console.result(written, console.submission)


@runs_networks
def export(
    experiment: options.RunOrConfig,
    output: options.OutputModel,
    checkpoint: options.Checkpoints = None,
    decode: options.Decode = None,
    overrides: options.Overrides = None,
) -> None:
    """Write a run's networks, averaged, as one ONNX file with everything needed to predict (extra: onnx)."""
    from kaggle_unet.steps.export import export as write

    opened = open_run(experiment, overrides)
    about, remarks = write(opened.config, checkpoint or [opened.run], output, decode=decode, overrides=overrides or ())
    console.warn_of(remarks)
    console.result({"model": output, "remarks": remarks, "about": about})
    console.say(
        f"model    {output} (checkpoints: {len(about['checkpoints'])}; sides in multiples of {about['multiple']}; its "
        f"probabilities differ from torch's by {about['largest_difference']:.1g})"
    )
    if not about["config"]["codec"]["classes"]:  # segment finds objects
        console.next("kaggle-unet", "segment", output, "IMAGES", "-o", Path("results") / output.stem)


@runs_networks
def kernel(
    runs: options.RunsOrModel,
    competition: options.CompetitionOnKaggle,
    output: options.OutputFolder,
    owner: options.KaggleOwner = "INSERT-KAGGLE-NAME",
    image: options.KaggleImage = None,
    decode: options.Decode = None,
    second_level: options.SecondLevel = None,
    overrides: options.Overrides = None,
) -> None:
    """Write a Kaggle dataset, and a notebook that makes the submission from it without internet."""
    from kaggle_unet.steps.check import competition_settings
    from kaggle_unet.steps.kernel import write_kernel

    competition_settings(competition)  # an error names the option, not the run's config
    words = [*(overrides or ()), f"competition.name={competition}"]
    opened = [open_run(run, words, may_be_exported=True) for run in runs]
    how: dict[str, Any] = {"decode": decode, "second_level": second_level, "overrides": words}
    written = write_kernel(opened[0].config, [one.run for one in opened], output, owner=owner, image=image, **how)
    console.wrote(dataset=output / "dataset", notebook=output / "notebook" / "submission.ipynb", wheel=written.wheels)
    console.warn_of(written.remarks)
    if owner == "INSERT-KAGGLE-NAME":
        console.warn(f"give --owner, or write your name on Kaggle in place of {owner} in the .json files in {output}")
    for line in (
        ("datasets", "create", "-p", output / "dataset", "--dir-mode", "zip"),
        ("kernels", "push", "-p", output / "notebook"),
        ("kernels", "output", written.name, "-p", output),
        ("competitions", "submit", written.competition, "-f", output / "submission.csv", "-m", "kaggle-unet"),
    ):
        console.next("kaggle", *line)


def check(
    csv: options.CsvPath, data: options.Data, competition: options.Competition, images: options.Images = "images"
) -> None:
    """Check a submission against every rule of its competition; the exit code is 0 or 3."""
    from kaggle_unet.steps.check import check_and_count, competition_settings

    warnings, coverage = check_and_count(csv, data, competition_settings(competition, images=images))
    console.warn_of(warnings)
    console.result({"csv": csv, "covers": coverage, "warnings": warnings})
    console.say(f"ok       {csv} follows every rule and covers {coverage}")
