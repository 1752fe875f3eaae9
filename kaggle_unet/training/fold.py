"""The epochs of one fold: training steps, validation, checkpoints, and the events that report them."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kaggle_unet.data.augment import stable_seed
from kaggle_unet.data.batch import Batch
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.errors import ResourceError, reading
from kaggle_unet.metrics.pixels import SCORES
from kaggle_unet.models.checkpoint import Checkpoint, load_checkpoint
from kaggle_unet.models.heads import Outputs
from kaggle_unet.training.device import DeviceConfig, count_workers
from kaggle_unet.training.distributed import Distributed
from kaggle_unet.training.failures import (
    TrainingFailure,
    explain_blank,
    explain_loss,
    explain_validation,
    explain_weights,
)
from kaggle_unet.training.history import Row, blank_validations, is_time_up, monitored_values, write_metrics
from kaggle_unet.training.resume import restore, save_epoch, save_mean, snapshot_name
from kaggle_unet.training.schedules import cycle_ends, rate_factor
from kaggle_unet.training.settings import MEAN, TrainingSettings
from kaggle_unet.training.step import Learner, Loss, StepResult
from kaggle_unet.training.validate import Predict, ValidationResult, merge


@dataclass(frozen=True)
class StepDone:
    """A training step is done."""

    epoch: int
    step: int
    n_steps: int
    loss: float
    images: int


@dataclass(frozen=True)
class PartDone:
    """Some images of a validation, or of the work `after` the training, are done."""

    done: int
    total: int
    after: str = ""


@dataclass(frozen=True)
class EpochDone:
    """An epoch is over and its checkpoints are written."""

    row: Mapping[str, float | None]
    is_best: bool
    warning: str = ""


OnEvent = Callable[[DeviceConfig | StepDone | PartDone | EpochDone], None]


def train_epoch(
    learner: Learner,
    batches: Iterable[Batch],
    *,
    rate: Callable[[int], float],
    epoch: int,
    on_step: Callable[[int, float, int], None],
    diverged_above: float = math.inf,
    usual_loss: float | None = None,
) -> tuple[dict[str, float], int]:
    """Train for one epoch, and return the mean loss and terms and the number of samples.

    A step that the fp16 scaler skips does not count for the schedule: the next step gets its rate.
    """
    learner.begin_epoch(epoch)
    sums: dict[str, float] = {}
    n_images = 0
    before: Batch | None = None
    for step, batch in enumerate(batches, 1):
        learner.set_rate(rate(step - learner.skipped_steps))
        max_loss = diverged_above * max(usual_loss, 1.0) if usual_loss is not None else math.inf
        result = learner.learn(batch, max_loss=max_loss)
        if not result.can_continue:
            raise _explain_failure(learner, result, f"epoch {epoch}, step {step}", (batch, before), max_loss)
        n_images += result.images
        for name, part in {"loss": result.loss, **result.parts}.items():
            sums[name] = sums.get(name, 0.0) + part * result.images
        on_step(step, result.loss, result.images)
        before, usual_loss = batch, result.loss if usual_loss is None else usual_loss
    assert n_images, "an epoch without samples"
    return {name: total / n_images for name, total in sums.items()}, n_images


def _explain_failure(
    learner: Learner, result: StepResult, place: str, batches: tuple[Batch, Batch | None], max_loss: float
) -> TrainingFailure:
    """Return the failure of a step, due to its batch or to the one before, whose gradients broke the weights."""
    batch, before = batches
    if math.isfinite(result.loss) and result.loss <= max_loss:
        return TrainingFailure(explain_weights(place, batch.ids), batch)
    if before is not None and not learner.is_finite():
        return TrainingFailure(explain_weights(f"{place}, of the step before", before.ids), before)
    return TrainingFailure(explain_loss(place, result.loss, result.parts, batch.ids, max_loss), batch)


@dataclass(frozen=True)
class FoldParts:
    """The parts from which the training of a fold is built."""

    build_model: Callable[[], nn.Module]
    loss: Loss
    training_set: TrainingSet
    validate: Callable[[Predict], ValidationResult] | None
    distributed: Distributed | None = None
    n_validated: int = 0  # images; if 0, a validation reports no progress


class Fold:
    """A fold that is being fitted."""

    def __init__(
        self, parts: FoldParts, settings: TrainingSettings, distributed: Distributed, previous: Checkpoint | None
    ) -> None:
        self.learner = Learner(parts.build_model(), parts.loss, settings, distributed)
        with reading("the checkpoint to resume from", "copy it again, or begin another --run"):
            self.history = restore(previous, self.learner) if previous else []
        self._parts = parts
        self._settings = settings
        self._distributed = distributed
        self._loader = open_loader(parts.training_set, settings, distributed)

    def run_epoch(self, on_event: OnEvent) -> tuple[Row, str]:
        """Train for one epoch and validate; return its row and a warning."""
        epoch, n_steps = len(self.history) + 1, len(self._loader)
        if self._distributed.size > 1:  # dropout that differs between processes, and that a resume can repeat
            torch.manual_seed(stable_seed(self._settings.seed, epoch, self._distributed.rank))
        start = time.perf_counter()
        means, n_images = train_epoch(
            self.learner,
            self._loader.epoch(epoch),
            rate=lambda step: self._rate(epoch - 1 + step / n_steps),
            epoch=epoch,
            on_step=lambda step, value, images: on_event(StepDone(epoch, step, n_steps, value, images)),
            diverged_above=self._settings.diverged_above or math.inf,
            usual_loss=self.history[0]["train_loss"] if self.history else None,
        )
        trained = time.perf_counter()
        self.learner.averages.update_swa(self.learner.network, epoch)
        minutes = self._settings.minutes
        is_last = self._distributed.on_rank_zero(lambda: is_time_up(self.history, minutes, trained - start))
        valid = self._validate(self.learner.eval_model, epoch, on_event) if is_last or self._is_due(epoch) else None
        pixels = valid.pixels if valid else {}
        row: Row = {
            "epoch": epoch,
            "lr": self._rate(epoch),
            **{f"train_{name}": value for name, value in means.items()},
            "valid_loss": valid.loss if valid else None,
            "valid_score": valid.score if valid else None,
            "valid_objects": valid.predicted_objects if valid else None,
            **{f"valid_{name}": pixels.get(name) for name in SCORES},
            "seconds": time.perf_counter() - start,
            "images_per_s": n_images / max(trained - start, 1e-9),  # a virtual machine's clock may stand still
        }
        if self.learner.scaler_state():
            row["skipped_steps"] = float(self.learner.skipped_steps)
        self.history.append(row)
        return row, self._look_for_blanks(valid)

    def save(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Write the epoch's checkpoints and the table; return True if the epoch is the best."""
        is_best = save_epoch(folder, self.learner, self._settings, config, self.history)
        write_metrics(folder / "metrics.csv", self.history)
        return is_best

    def finish(self, folder: Path, config: Mapping[str, Any], on_event: OnEvent) -> dict[str, float | None]:
        """Finish the mean over epochs, and return the scores of the snapshots and of that mean."""
        ends = cycle_ends(self._settings.schedule, self._settings.epochs)
        others = {
            snapshot_name(number): self.history[end - 1]["valid_score"]
            for number, end in enumerate(ends, 1)
            if end <= len(self.history)
        }
        if (mean := self.learner.averages.mean) is not None:
            others[MEAN] = self._finish_mean(mean, folder, config, on_event)
        elif self._settings.swa and self._distributed.is_rank_zero:
            ended = f"the training ended with epoch {len(self.history)}, before training.swa.from_epoch"
            warnings.warn(f"there is no {MEAN}: {ended}; lower it, or train longer", stacklevel=2)
        return others

    def _finish_mean(self, mean: nn.Module, folder: Path, config: Mapping[str, Any], on_event: OnEvent) -> float:
        """Recompute batch norm on new crops for the mean over epochs, then validate and save that mean."""
        epoch = len(self.history)
        if (folder / MEAN).exists() and (written := load_checkpoint(folder / MEAN))["epoch"] == epoch:
            return float(written["score"])  # a finished training that is resumed
        self.learner.update_batch_norm(mean, self._loader.epoch(epoch + 1), epoch)
        score = self._validate(mean, epoch, on_event).score
        self._distributed.on_rank_zero(lambda: save_mean(folder, mean, config, self.history, score))
        return score

    def _rate(self, progress: float) -> float:
        settings, swa = self._settings, self._settings.swa
        factor = rate_factor(
            settings.schedule,
            progress=progress,
            epochs=settings.epochs,
            monitored_values=monitored_values(self.history, settings.monitor),
        )
        if swa is not None and swa.rate is not None and progress > swa.from_epoch - 1:
            factor = swa.rate
        return settings.optimizer.learning_rate * factor

    def _is_due(self, epoch: int) -> bool:
        settings = self._settings
        ends = [settings.epochs, *cycle_ends(settings.schedule, settings.epochs)]
        return epoch % settings.validate_every == 0 or epoch in ends

    def _validate(self, network: nn.Module, epoch: int, on_event: OnEvent) -> ValidationResult:
        network.eval()
        self._distributed.sync_buffers(network)
        validate_model, total, done = self._parts.validate, self._parts.n_validated, 0

        def predict(inputs: Tensor) -> Tensor | Outputs:
            nonlocal done
            outputs, done = self.learner.predict(inputs, network), done + len(inputs)
            if total:
                on_event(PartDone(done, total))
            return outputs

        def work() -> ValidationResult | None:
            return validate_model(predict) if validate_model else None

        try:
            found = merge([result for result in self._distributed.gather(work) if result is not None])
        except TrainingFailure as failure:
            raise TrainingFailure(explain_validation(epoch, str(failure)), failure.batch) from failure
        except torch.OutOfMemoryError as error:
            msg = f"epoch {epoch}: the validation does not fit into the device's memory; lower inference.batch, "
            raise ResourceError(msg + "and begin another --run") from error
        if not math.isfinite(found.loss):
            raise TrainingFailure(explain_validation(epoch, f"the validation loss is {found.loss}"))
        return found

    @property
    def batches(self) -> Literal["device", "workers"]:
        """Where the inputs of batches are computed."""
        return "device" if self._loader.device else "workers"

    def _look_for_blanks(self, valid: ValidationResult | None) -> str:
        """Return a warning if the network predicts no objects; raise `TrainingFailure` after too many validations."""
        if valid is None or not valid.is_blank:
            return ""
        message = explain_blank(len(self.history), len(valid.scores), valid.true_objects)
        limit = self._settings.blank_validations
        if limit is not None and blank_validations(self.history) >= limit:
            msg = f"{message}. This was the case in {limit} validations, the limit set by training.blank_validations"
            raise TrainingFailure(msg, valid.batch)
        return message


def open_loader(items: TrainingSet, settings: TrainingSettings, distributed: Distributed) -> BatchLoader:
    """Build the loader for a rank's shard of every batch."""
    device, kind = distributed.fabric.device, distributed.device_config.device
    on_device = settings.data_on == "device" or (settings.data_on == "auto" and kind == "cuda")
    return BatchLoader(
        items,
        batch=settings.batch * distributed.size,
        workers=count_workers(settings.workers, kind),
        shard=(distributed.rank, distributed.size),
        device=device if on_device else None,
        ahead=device if kind == "cuda" else None,
    )
