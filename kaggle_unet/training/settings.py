"""What a config says about training; free of torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kaggle_unet.types import Settings

# The checkpoints in a fold's folder, beside those that cycles of the schedule leave.
BEST, LAST, MEAN = "best.safetensors", "last.safetensors", "swa.safetensors"
# What may differ from the config that a run began with. Tiles are of images that no crop is as large as.
SAFE_TO_CHANGE = ("training.workers", "training.threads", "training.minutes", "inference.tile_px")


def _spell_number(value: Any) -> Any:
    """Take the number 32 for the word; YAML knows no difference that a person would see."""
    return "32" if value == 32 and not isinstance(value, bool) else value


class OptimizerSettings(Settings):
    """The optimiser.

    Attributes
    ----------
    name : {"adam", "adamw", "sgd", "rmsprop", "adagrad"}
        torch's own; `sgd` uses Nesterov momentum.
    learning_rate, weight_decay, momentum : float
        As in torch; `momentum` is used by `sgd` and `rmsprop`.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class ScheduleSettings(Settings):
    """Schedule of the learning rate.

    Attributes
    ----------
    name : {"constant", "cosine", "exponential", "plateau", "one_cycle", "snapshots"}
        `cosine` falls to `floor` at the last epoch, step by step; `exponential` multiplies by `factor` each epoch;
        `plateau` multiplies by `factor` after `patience` epochs without improvement; `one_cycle` rises from `start` to
        the full rate and falls to `floor`, both along a cosine; `snapshots` repeats a cosine from the full rate to
        `floor` `cycles` times and saves a checkpoint after each, `snapshot<k>.safetensors`.
    warmup_epochs : float
        Epochs over which the rate rises linearly from 0; not for `plateau` and `one_cycle`.
    factor : float
        Factor of `exponential` and `plateau`.
    patience : int
        Epochs without improvement, for `plateau`.
    floor : float
        Lowest rate, as a fraction of the full one.
    start : float
        First rate of `one_cycle`, as a fraction of the full one.
    rise : float
        Fraction of the training during which `one_cycle` rises.
    cycles : int
        Number of cycles of `snapshots`; their lengths in epochs differ by at most one.
    """

    name: Literal["constant", "cosine", "exponential", "plateau", "one_cycle", "snapshots"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.01
    start: Annotated[float, Field(gt=0, lt=1)] = 0.04
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    cycles: Annotated[int, Field(ge=1)] = 3


class EmaSettings(Settings):
    """An exponential moving average of the weights over steps; the average is validated and saved as the best.

    Attributes
    ----------
    decay : float
        Fraction of the old average that each step keeps; in step n it is at most (1 + n) / (10 + n), so that the poor
        first weights are soon forgotten.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class SwaSettings(Settings):
    """The mean of the weights after each of the last epochs (stochastic weight averaging).

    Attributes
    ----------
    from_epoch : int
        The first epoch whose weights count.
    rate : float, optional
        Learning rate from that epoch on, as a fraction of the full one; None continues the schedule.
    """

    from_epoch: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(gt=0)] | None = None


class TrainingSettings(Settings):
    """Training of a fold.

    Attributes
    ----------
    epochs : int
        Passes over the fold's samples, at most.
    minutes : float, optional
        No new epoch starts after this many minutes of training and validation, including those before a resume.
        Schedules still follow `epochs`, so the result depends on the machine's speed.
    batch : int
        Samples per step, on each device if there are several.
    accumulate : int
        Number of parts in which a batch is computed, one after the other, to save memory. Gradients add up to those of
        the whole batch if the loss is a mean over images; batch norm sees the parts.
    optimizer : OptimizerSettings
        The optimiser.
    schedule : ScheduleSettings
        How the learning rate changes.
    freeze_encoder_epochs : int
        Epochs during which the encoder is frozen, including its batch norm.
    ema : EmaSettings, optional
        A moving average of the weights.
    swa : SwaSettings, optional
        A mean over the last epochs, saved as `swa.safetensors`.
    monitor : {"score", "loss"}
        Which validation figure decides what is better: for the best checkpoint, early stopping and `plateau`. The loss
        is the training loss without deep supervision, computed from the logits before any gate.
    early_stopping : int, optional
        Stop after this many validations without improvement; None never stops early.
    validate_every : int
        Epochs between validations; the last epoch and the ends of cycles are always validated.
    diverged_above : float, optional
        Training ends with an error if the loss of a step exceeds this many times the mean of the first epoch (within
        that epoch: the loss of the first step); None allows any loss.
    blank_validations : int, optional
        Training ends with an error after this many consecutive validations without any predicted object, although there
        are true ones; None allows any number.
    precision : {"auto", "32", "bf16", "fp16"}
        `auto` is bf16 if the device computes in it, otherwise 32; `fp16` scales gradients.
    channels_last : {"auto"} or bool
        Memory layout; `auto` follows the precision.
    compile : bool
        Whether `torch.compile` compiles network and loss: minutes before the first step, faster steps after it.
    deterministic : bool
        Whether only operations with reproducible bits are used. On a CPU they are anyway; on a GPU some are slower, and
        some networks need others.
    clip_norm : float, optional
        Gradients are clipped to this norm.
    workers : int or {"auto"}
        Processes that prepare batches; 0 prepares them in the training process. `auto` means one per core except one,
        and at most 8, on a GPU, and 0 on a CPU, whose cores are busy anyway. Results do not depend on it.
    data_on : {"auto", "device", "workers"}
        Where gray levels, noise and normalisation are computed: by the `workers`, or on the device for a whole batch at
        once; `auto` means the device if it is a CUDA GPU. Both give the same batches except for the noise, which has
        the same distribution.
    threads : int, optional
        Threads of torch; None leaves the choice to torch. Results are identical only for the same number of threads.
    seed : int
        Seed of weights, order and augmentation.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 16
    accumulate: Annotated[int, Field(ge=1)] = 1
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    freeze_encoder_epochs: Annotated[int, Field(ge=0)] = 0
    ema: EmaSettings | None = None
    swa: SwaSettings | None = None
    monitor: Literal["score", "loss"] = "score"
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    validate_every: Annotated[int, Field(ge=1)] = 1
    diverged_above: Annotated[float, Field(gt=1)] | None = 100.0
    blank_validations: Annotated[int, Field(ge=1)] | None = 10
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(_spell_number)] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    compile: bool = False
    deterministic: bool = False
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    data_on: Literal["auto", "device", "workers"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.schedule.name == "snapshots" and self.schedule.cycles > self.epochs:
            msg = f"training.schedule.cycles is {self.schedule.cycles}, but there are {self.epochs} epochs: a cycle is "
            raise ValueError(msg + "at least one epoch")
        if self.swa is not None and self.swa.from_epoch > self.epochs:
            msg = (
                f"training.swa.from_epoch is {self.swa.from_epoch}, but there are {self.epochs} epochs: nothing would "
            )
            raise ValueError(msg + "be averaged")
        if self.accumulate > self.batch:
            msg = f"training.accumulate is {self.accumulate}, but a batch has {self.batch} samples: a part has at "
            raise ValueError(msg + "least one")
        return self
