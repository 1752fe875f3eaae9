"""Fit one fold: epochs, validations, checkpoints, until all are done or nothing gets better."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.errors import KitError
from kaggle_unet.models.checkpoint import Checkpoint
from kaggle_unet.store import sweep_temporaries
from kaggle_unet.training.events import EpochDone, EpochStarted, OnEvent, StepDone
from kaggle_unet.training.history import Row, best_row, validations_without_gain
from kaggle_unet.training.loop import Learner, Loss, train_epoch
from kaggle_unet.training.metrics_log import tracking, write_metrics
from kaggle_unet.training.optimizers import create_optimizer
from kaggle_unet.training.precision import Decided, decide
from kaggle_unet.training.resume import find_previous, restore, save_epoch
from kaggle_unet.training.schedules import rate_share
from kaggle_unet.training.seeding import seed_everything
from kaggle_unet.training.settings import TrainingSettings
from kaggle_unet.training.validate import Predict, ValidationResult

StoppedBy = Literal["epochs", "early stopping"]


@dataclass(frozen=True)
class FoldParts:
    """What a fold is fitted with.

    Attributes
    ----------
    build_model : callable
        Makes the network; called once, after seeding.
    loss : callable
        Takes logits, planes and weights; gives the loss and its parts. A module is moved to the device.
    training_set : TrainingSet
        What is learnt from.
    validate : callable
        Judges a network by its predictions: `kaggle_unet.training.validate.validate` with all but the first argument.
    """

    build_model: Callable[[], nn.Module]
    loss: Loss
    training_set: TrainingSet
    validate: Callable[[Predict], ValidationResult]


@dataclass(frozen=True)
class FitResult:
    """How a fold ended.

    Attributes
    ----------
    best_epoch, best_score : int, float
        What `best.pt` holds.
    epochs : int
        Epochs done, those before a resume included.
    stopped_by : {"epochs", "early stopping"}
        Why it ended.
    history : list of Row
        A row per epoch, as in `metrics.csv`.
    decided : Decided
        What the device decided.
    """

    best_epoch: int
    best_score: float
    epochs: int
    stopped_by: StoppedBy
    history: list[Row]
    decided: Decided


def fit_fold(
    parts: FoldParts,
    settings: TrainingSettings,
    *,
    folder: Path,
    config: Mapping[str, Any],
    resume: bool = False,
    track: bool = False,
    on_event: OnEvent = lambda _: None,
) -> FitResult:
    """Fit a fold and leave `best.pt`, `last.pt` and `metrics.csv` in its folder.

    Parameters
    ----------
    parts : FoldParts
        Network, loss, data.
    settings : TrainingSettings
        How it is fitted.
    folder : Path
        The fold's; made if missing.
    config : mapping
        The whole experiment in plain values; goes into the checkpoints.
    resume : bool
        Go on after the last whole epoch.
    track : bool
        Write a TensorBoard log, too.
    on_event : callable
        Told what happens; see `kaggle_unet.training.events`.

    Returns
    -------
    result : FitResult
        The best epoch, and all of them.

    Raises
    ------
    ConfigError
        If `resume` does not fit what the folder holds, or the device can't do what the settings ask for.
    KitError
        If a loss is not finite, or a worker process died.

    Notes
    -----
    On a CPU, with the same number of threads, a resumed training ends in the same weights as an uninterrupted one.
    Whatever ends the process, `last.pt` is of the last whole epoch.
    """
    previous = find_previous(folder, config, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    seed_everything(settings.seed, settings.threads)
    decided = decide(settings.precision, settings.channels_last)
    on_event(decided)
    with tracking(folder, wanted=track) as tracker:
        fitting = _Fitting(parts, settings, decided, previous)
        while (stopped_by := _reason_to_stop(fitting.history, settings)) is None:
            row = fitting.run_epoch(on_event)
            is_best = save_epoch(folder, fitting.learner, config, fitting.history)
            write_metrics(folder / "metrics.csv", fitting.history)
            tracker.add(row)
            on_event(EpochDone(row, is_best))
    return _conclude(fitting.history, stopped_by, decided)


class _Fitting:
    """What lives from one epoch to the next."""

    def __init__(
        self, parts: FoldParts, settings: TrainingSettings, decided: Decided, previous: Checkpoint | None
    ) -> None:
        network = parts.build_model()
        optimizer = create_optimizer(settings.optimizer, network.parameters())
        self.learner = Learner(network, optimizer, decided, clip_norm=settings.clip_norm)
        self.history = restore(previous, self.learner) if previous else []
        self._parts = parts
        self._settings = settings
        self._loader = BatchLoader(
            parts.training_set, batch=settings.batch, workers=settings.workers, pin=decided.device == "cuda"
        )
        if isinstance(parts.loss, nn.Module):
            parts.loss.to(decided.device)

    def run_epoch(self, on_event: OnEvent) -> Row:
        """Train and validate; the history grows by the row that is returned."""
        epoch, n_steps = len(self.history) + 1, len(self._loader)
        on_event(EpochStarted(epoch, self._settings.epochs, n_steps))
        start = time.perf_counter()
        means = train_epoch(
            self.learner,
            self._loader.epoch(epoch),
            loss=self._parts.loss,
            rate=lambda step: self._rate(epoch - 1 + step / n_steps),
            epoch=epoch,
            on_step=lambda step, value, images: on_event(StepDone(step, n_steps, value, images)),
        )
        trained = time.perf_counter()
        valid = self._validate(epoch)
        row: Row = {
            "epoch": epoch,
            "lr": self._rate(epoch),
            "train_loss": means.loss,
            **{f"train_{name}": value for name, value in means.parts.items()},
            "valid_loss": valid.loss if valid else None,
            "valid_score": valid.score if valid else None,
            "seconds": time.perf_counter() - start,
            "images_per_s": means.images / (trained - start),
        }
        self.history.append(row)
        return row

    def _rate(self, progress: float) -> float:
        scores = [row["valid_score"] for row in self.history]
        share = rate_share(self._settings.schedule, progress=progress, epochs=self._settings.epochs, scores=scores)
        return self._settings.optimizer.learning_rate * share

    def _validate(self, epoch: int) -> ValidationResult | None:
        if epoch % self._settings.validate_every and epoch != self._settings.epochs:
            return None
        self.learner.network.eval()
        result = self._parts.validate(self.learner.predict)
        if not math.isfinite(result.loss):
            msg = (
                f"epoch {epoch}: the validation loss is {result.loss} although the training loss is not; the "
                "checkpoints of earlier epochs are whole. Lower training.optimizer.learning_rate, or try "
                "training.precision 32"
            )
            raise KitError(msg)
        return result


def _reason_to_stop(history: Sequence[Row], settings: TrainingSettings) -> StoppedBy | None:
    if len(history) >= settings.epochs:
        return "epochs"
    patience = settings.early_stopping
    return "early stopping" if patience is not None and validations_without_gain(history) >= patience else None


def _conclude(history: list[Row], stopped_by: StoppedBy, decided: Decided) -> FitResult:
    best = best_row(history)
    assert best is not None, "the last epoch is always validated"
    assert best["epoch"] is not None
    assert best["valid_score"] is not None
    return FitResult(int(best["epoch"]), best["valid_score"], len(history), stopped_by, history, decided)
