"""Verbs that use out-of-fold planes: score, tune, second-level, report."""

import os
from typing import Any

from kaggle_unet.cli import options
from kaggle_unet.cli.base import console, open_run
from kaggle_unet.errors import ConfigError


def score(
    predicted: options.Predicted = None,
    truth: options.Truth = None,
    competition: options.Metric = None,
    run: options.ScoredRun = None,
    store: options.MovedStore = None,
    images: options.Images = "images",
    masks: options.Masks = "masks",
    masks_are: options.MasksAre = None,
    decode: options.Decode = None,
    train: options.TrainingImages = False,
    table: options.ScoreTable = None,
) -> None:
    """Score a submission or labels in any format against the truth, or a run on its out-of-fold planes."""
    from kaggle_unet.io.archive import split_location
    from kaggle_unet.steps.score import refuse_tables, score_predictions, score_run, write_score_tables

    if table is not None:
        refuse_tables(table, [predicted, truth and split_location(truth)[0]])
    given, is_of_run = predicted or run, run or store or decode or train
    is_of_truth = truth or competition or (images, masks, masks_are) != ("images", "masks", None)
    if predicted is not None and truth is not None and not is_of_run:
        places = {"images": images, "masks": masks, "masks_are": masks_are}
        result = score_predictions(predicted, truth, competition or "folder", on_warning=console.warn, **places)
    elif given is not None and given.suffix.lower() != ".csv" and not is_of_truth:
        opened = open_run(given, run=run)
        with console.progress() as on_progress:
            result = score_run(
                opened.run, store, decode=decode, train=train, on_progress=on_progress, on_warning=console.warn
            )
    else:
        msg = "score: give either RUN, with --store, --decode and --train if you like, or CSV_OR_LABELS --truth DATA, "
        raise ConfigError(f"{msg}with --competition, --images, --masks and --masks-are if you like")
    console.result(result, console.scores)
    if table is not None:
        console.wrote(tables=[table, write_score_tables(table, result.scored)])


def tune(
    experiment: options.RunOrConfig,
    run: options.Run = None,
    store: options.MovedStore = None,
    others: options.OtherRuns = None,
    trials: options.Trials = 200,
    overrides: options.Overrides = None,
) -> None:
    """Search decode parameters on out-of-fold planes; submit uses the result."""
    from kaggle_unet.steps.tune import tune as search

    opened = open_run(experiment, overrides, run=run)
    with console.progress() as on_progress:
        how = {"n_trials": trials, "workers": os.cpu_count() or 1}
        result = search(opened.config, opened.run, store, others=others or (), **how, on_progress=on_progress)
    console.result(result, console.tuned)


def second_level(
    experiment: options.RunOrConfig,
    store: options.MovedStore = None,
    others: options.OtherRuns = None,
    decode: options.Decode = None,
    workers: options.Workers = 0,
) -> None:
    """Learn from out-of-fold planes which splits to trust; submit uses the result."""
    from kaggle_unet.steps.second_level import learn_second_level

    run, workers = open_run(experiment).run, workers or os.cpu_count() or 1
    with console.progress() as on_progress:
        how: dict[str, Any] = {"others": others or (), "decode": decode, "workers": workers}
        result = learn_second_level(run, store, **how, on_progress=on_progress, on_warning=console.warn)
    console.result(result, console.second_level)


def report(
    experiment: options.MaybeRunOrConfig = None,
    output: options.OutputPage = None,
    store: options.MovedStore = None,
    decode: options.Decode = None,
    train: options.TrainingImages = False,
    against: options.Against = None,
    csv: options.ReportedCsv = None,
    data: options.PredictedData = None,
    competition: options.Metric = None,
) -> None:
    """Write an HTML page to browse every out-of-fold prediction and its errors, a submission, or a store's targets."""
    from kaggle_unet.steps.report import write_report, write_store_report, write_submission_report

    is_plain = not (against or train or decode or store)
    with console.progress() as on_progress:
        if csv is not None:
            if data is None or experiment is not None or not is_plain:
                msg = "report --csv takes --data, --competition and -o alone; a run has a report without --csv"
                raise ConfigError(msg)
            output = output or csv.with_suffix(".html")
            page = write_submission_report(csv, data, competition or "folder", output, on_progress)
        elif experiment is None or data is not None or competition is not None:
            raise ConfigError("report takes a run or a store, or --csv FILE --data IMAGES --competition NAME")
        elif (experiment / "manifest.json").is_file():
            if not is_plain:
                raise ConfigError(f"{experiment} is a store: its report takes -o alone; the other options are for runs")
            page = write_store_report(experiment, output or experiment / "report.html", on_progress)
        else:
            run = open_run(experiment).run
            output, how = output or run / "report.html", {"decode": decode, "against": against}
            page = write_report(
                run, output, store, **how, train=train, on_progress=on_progress, on_warning=console.warn
            )
    console.wrote(report=page)
