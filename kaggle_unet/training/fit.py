"""Fit one fold until all epochs are done, early stopping ends it, or the time is up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kaggle_unet.training.device import DeviceConfig, seed_everything
from kaggle_unet.training.distributed import init_distributed
from kaggle_unet.training.failures import TrainingFailure, save_batches
from kaggle_unet.training.fold import EpochDone, Fold, FoldParts, OnEvent
from kaggle_unet.training.history import Row, best_row, is_time_up, is_validated, tracking, validations_without_gain
from kaggle_unet.training.resume import find_previous
from kaggle_unet.training.settings import TrainingSettings

StoppedBy = Literal["epochs", "early stopping", "time"]


@dataclass(frozen=True)
class FitResult:
    """The result of fitting a fold."""

    best_epoch: int
    best_score: float
    epochs: int
    stopped_by: StoppedBy
    history: list[Row]
    device_config: DeviceConfig
    batches: Literal["device", "workers"]
    others: dict[str, float | None] = field(default_factory=dict)


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
    """Fit a fold, and write `best.safetensors`, `last.safetensors` and `metrics.csv` to its folder.

    On a CPU, with the same number of threads, a resumed training ends with the same weights as an uninterrupted one.
    However the process ends, `last.safetensors` is that of the last complete epoch.
    """
    seed_everything(settings.seed, deterministic=settings.deterministic)
    distributed = parts.distributed or init_distributed(settings)
    previous = find_previous(folder, config, resume=resume)
    on_event(distributed.device_config)
    fold = Fold(parts, settings, distributed, previous)
    try:
        with tracking(folder, wanted=track and distributed.is_rank_zero) as track_epoch:
            while (stopped_by := distributed.on_rank_zero(lambda: _reason_to_stop(fold.history, settings))) is None:
                row, warning = fold.run_epoch(on_event)
                is_best = distributed.on_rank_zero(lambda: fold.save(folder, config))
                track_epoch(row)
                on_event(EpochDone(row, is_best, warning))
        others = fold.finish(folder, config, on_event)
    except TrainingFailure as failure:
        batch = failure.batch
        batches = distributed.gather(lambda: batch)
        where = distributed.on_rank_zero(lambda: save_batches(folder, batches))
        raise TrainingFailure(f"{failure}{where}", batch) from failure
    best = best_row(fold.history, settings.monitor)
    assert best is not None, "the last epoch is always validated"
    epoch, score, n_epochs = best["epoch"], best["valid_score"], len(fold.history)
    assert epoch is not None
    assert score is not None
    return FitResult(
        int(epoch), score, n_epochs, stopped_by, fold.history, distributed.device_config, fold.batches, others
    )


def _reason_to_stop(history: Sequence[Row], settings: TrainingSettings) -> StoppedBy | None:
    if len(history) >= settings.epochs:
        return "epochs"
    patience = settings.early_stopping
    if patience is not None and validations_without_gain(history, settings.monitor) >= patience:
        return "early stopping"
    is_over = bool(history) and is_validated(history[-1]) and is_time_up(history, settings.minutes)
    return "time" if is_over else None
