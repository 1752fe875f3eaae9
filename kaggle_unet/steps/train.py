"""`train`: fit one fold, then predict and score the samples it has not seen."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.batch import Sides
from kaggle_unet.data.dataset import Encoding, TrainingSet, ValidationSet
from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.create import create_model, input_multiple, output_margin
from kaggle_unet.report.curves import plot_curves
from kaggle_unet.steps.folders import fold_folder
from kaggle_unet.steps.make_targets import resolved_weights
from kaggle_unet.steps.predict import predict_stored
from kaggle_unet.steps.run import begin_run
from kaggle_unet.steps.score import out_of_fold, summarise
from kaggle_unet.store import Store, atomic_write, lock
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.training.events import OnEvent
from kaggle_unet.training.fit import FitResult, FoldParts, fit_fold
from kaggle_unet.training.validate import Finish, validate


@dataclass(frozen=True)
class Division:
    """Ids on either side of a fold."""

    training: list[str]
    validation: list[str]


def train_fold(
    config: Config,
    store_folder: Path,
    run: Path,
    fold: int,
    *,
    resume: bool = False,
    track: bool = False,
    on_event: OnEvent = lambda _: None,
) -> dict[str, Any]:
    """Fit a fold and score it out-of-fold.

    Parameters
    ----------
    config : Config
        The experiment.
    store_folder : Path
        What `make-targets` wrote.
    run : Path
        The run's folder; the fold gets `RUN/fold<N>`.
    fold : int
        Which one is left out.
    resume : bool
        Go on after the last whole epoch; a fold that has none begins.
    track : bool
        Write TensorBoard files.
    on_event : callable
        Called with the events of `kaggle_unet.training.events`.

    Returns
    -------
    result : dict
        Plain values: best epoch and score, why it ended, the out-of-fold score and its interval.

    Raises
    ------
    ConfigError
        If a fold is empty, the store was made by another config, a run is there already and `resume` is not given, or
        `resume` is given and there is no run.
    """
    store = Store.open(store_folder)
    if resume and not (run / "run.json").exists():
        msg = f"--resume: there is no run in {run}, so there is nothing to go on from; leave out --resume to begin"
        raise ConfigError(msg)
    division = _divide(begin_run(run, config, store), fold)
    folder = fold_folder(run, fold)
    with lock(folder):
        if resume and not (folder / "last.pt").exists():
            resume = False  # this fold has not finished an epoch; of a first one that was cut short, nothing is kept
            for half in folder.glob("best.pt*"):
                half.unlink()
        fitted = fit_fold(
            _gather(config, store, division),
            config.training,
            folder=folder,
            config=plain(config),
            resume=resume,
            track=track,
            on_event=on_event,
        )
        atomic_write(folder / "curves.png", plot_curves(fitted.history))
        predict_stored(config, folder / "best.pt", store, division.validation, on_progress=lambda *_: None)
        result = _conclude(config, store, run, fold, fitted)
        atomic_write(folder / "result.json", json.dumps(result, indent=1) + "\n")
    return result


def _divide(rows: Sequence[dict[str, Any]], fold: int) -> Division:
    inside = sorted(row["id"] for row in rows if row["fold"] == fold)
    outside = sorted(row["id"] for row in rows if row["fold"] not in {fold, None})
    if not inside or not outside:
        msg = f"fold {fold} has {len(inside)} samples to validate on and {len(outside)} to train on; lower folds.n, "
        msg += "or change the folds file"
        raise ConfigError(msg)
    return Division(outside, inside)


def _gather(config: Config, store: Store, division: Division) -> FoldParts:
    """Build everything a fold is fitted with."""
    codec = CODECS[config.codec.name]
    sides = Sides(input_multiple(config.model), output_margin(config.model))
    loss = SegmentationLoss(config.loss, codec.planes, codec.activation)
    competition = get_competition(config.competition.name)
    validation_set = ValidationSet(
        [store.read(id_) for id_ in division.validation],
        store.read_targets,
        inputs=config.input,
        sides=sides,
        batch=config.inference.batch,
    )
    training_set = TrainingSet(
        [store.read(id_) for id_ in division.training],
        encoding=Encoding(config.input, config.codec, resolved_weights(config.weights, store)),
        augmentation=config.augmentation,
        sides=sides,
        seed=config.training.seed,
    )
    finish = Finish(codec, config.decode, config.postprocess, competition.metric)
    return FoldParts(
        build_model=partial(_build_model, config),
        loss=loss,
        training_set=training_set,
        validate=partial(validate, validation_set=validation_set, loss=loss, finish=finish),
    )


def _build_model(config: Config) -> nn.Module:
    return create_model(
        config.model,
        in_channels=len(config.input.channels),
        out_channels=len(CODECS[config.codec.name].planes),
    )


def _conclude(config: Config, store: Store, run: Path, fold: int, fitted: FitResult) -> dict[str, Any]:
    scored = summarise([entry.scored for entry in out_of_fold(run, config, store, [fold])])
    return {
        "fold": fold,
        "folder": str(fold_folder(run, fold)),
        "best_epoch": fitted.best_epoch,
        "best_score": fitted.best_score,
        "epochs": fitted.epochs,
        "stopped_by": fitted.stopped_by,
        "seconds": sum(row["seconds"] or 0.0 for row in fitted.history),
        "device": fitted.decided.record,
        "samples": scored["images"],
        "oof_score": scored["score"],
        "oof_interval": scored["interval"],
    }
