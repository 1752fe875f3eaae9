"""Settings of a training; free of torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kaggle_unet.types import Settings

# The checkpoints in a fold's folder, besides those saved after the schedule's cycles.
BEST, LAST, MEAN = "best.safetensors", "last.safetensors", "swa.safetensors"
# What may differ from the config that a run began with. Only images larger than any crop are tiled.
SAFE_TO_CHANGE = ("training.workers", "training.threads", "training.minutes", "inference.tile_px")


def _spell_number(value: Any) -> Any:
    """Accept the number 32 as the string, since in YAML a person would see no difference."""
    return "32" if value == 32 and not isinstance(value, bool) else value


class OptimizerSettings(Settings):
    """The optimiser."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "muon"] = "adam"
    """torch's own, and `muon`: AdamW with orthogonal updates of convolutions. `sgd` uses Nesterov momentum."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """As in torch; for `muon`, three to five times that for AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """As in torch; decoupled for `adamw` and `muon`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """As in torch; used by `sgd`, `rmsprop` and `muon`."""


class ScheduleSettings(Settings):
    """Schedule of the learning rate."""

    name: Literal["constant", "cosine", "exponential", "plateau", "one_cycle", "snapshots"] = "cosine"
    """`cosine` falls to `floor` at the last epoch, step by step; `exponential` multiplies by `factor` each epoch;
    `plateau` multiplies by `factor` after `patience` epochs without improvement; `one_cycle` rises from `start` to
    the full rate and falls to `floor`, both along a cosine; `snapshots` repeats a cosine from the full rate to
    `floor` `cycles` times and saves a checkpoint after each, `snapshot<k>.safetensors`."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which the rate rises linearly from 0; not for `plateau` and `one_cycle`."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor of `exponential` and `plateau`."""
    patience: Annotated[int, Field(ge=0)] = 5
    """Epochs without improvement, for `plateau`."""
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Lowest rate, as a fraction of the full one."""
    start: Annotated[float, Field(gt=0, lt=1)] = 0.04
    """First rate of `one_cycle`, as a fraction of the full one."""
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Fraction of the training during which `one_cycle` rises."""
    cycles: Annotated[int, Field(ge=1)] = 3
    """Number of cycles of `snapshots`; their lengths in epochs differ by at most one."""


class EmaSettings(Settings):
    """An exponential moving average of the weights over steps; the average is validated and saved as the best."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Fraction of the old average that each step keeps; in step n it is at most (1 + n) / (10 + n), so that the poor
    first weights are soon forgotten."""


class SwaSettings(Settings):
    """The mean of the weights after each of the last epochs (stochastic weight averaging)."""

    from_epoch: Annotated[int, Field(ge=1)]
    """The first epoch whose weights count."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate from that epoch on, as a fraction of the full one; None continues the schedule."""


class TrainingSettings(Settings):
    """Training of a fold."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the fold's samples, at most."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """No new epoch starts after this many minutes of training and validation, including those before a resume.
    Schedules still follow `epochs`, so the result depends on the machine's speed."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Samples per step, on each device if there are several."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Number of parts in which a batch is computed, one after the other, to save memory. Gradients add up to those of
    the whole batch if the loss is a mean over images; batch norm sees each part by itself."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """The optimiser."""
    schedule: ScheduleSettings = ScheduleSettings()
    """How the learning rate changes."""
    start_from: str | None = None
    """The run or checkpoint whose weights a training begins with; from a run, each fold takes the best of the same
    fold. For a second stage with another loss or rate, or to fine-tune a network trained on other data."""
    freeze_encoder_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs during which the encoder is frozen, including its batch norm."""
    ema: EmaSettings | None = None
    """A moving average of the weights."""
    swa: SwaSettings | None = None
    """A mean over the last epochs, saved as `swa.safetensors`."""
    monitor: Literal["score", "loss"] = "score"
    """Validation figure that decides what is better, for the best checkpoint, early stopping and `plateau`. The loss is
    the training loss without deep supervision, computed from the logits before any gate."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations without improvement; None never stops early."""
    validate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between validations; the last epoch and the ends of cycles are always validated."""
    diverged_above: Annotated[float, Field(gt=1)] | None = 100.0
    """Training ends with an error if the loss of a step exceeds this many times the mean of the first epoch (within
    that epoch: the loss of the first step), or this number itself if that is below 1; None allows any loss."""
    blank_validations: Annotated[int, Field(ge=1)] | None = 10
    """Training ends with an error after this many consecutive validations without any predicted object, although there
    are true ones; None allows any number."""
    precision: Annotated[
        Literal["auto", "32", "bf16", "fp16"],
        BeforeValidator(_spell_number),
        WithJsonSchema({"enum": ["auto", "32", 32, "bf16", "fp16"]}),
    ] = "auto"
    """`auto` is bf16 if the device computes in it, otherwise 32; `fp16` scales gradients."""
    channels_last: Literal["auto"] | bool = "auto"
    """Memory layout; `auto` chooses it wherever it is faster: on GPUs, with bf16, and on CPUs with AVX512."""
    compile: bool = False
    """Whether `torch.compile` compiles network and loss: minutes before the first step, faster steps after it."""
    deterministic: bool = False
    """Whether to use only operations whose results are the same to the last bit. On a CPU all are; on a GPU some are
    slower, and some networks need others."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Gradients are clipped to this norm."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that prepare batches; 0 prepares them in the training process. On a GPU, `auto` means one per core but
    one, and at most 8; on a CPU it means 0, as the cores are busy anyway. Results do not depend on this."""
    data_on: Literal["auto", "device", "workers"] = "auto"
    """Where gray levels, noise and normalisation are computed: by the `workers`, or on the device for a whole batch at
    once; `auto` means the device if it is a CUDA GPU. Both give the same batches except for the noise, which has the
    same distribution."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of torch; None leaves the choice to torch. Results are identical only for the same number of threads."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.schedule.name == "snapshots" and self.schedule.cycles > self.epochs:
            msg = f"training.schedule.cycles is {self.schedule.cycles}, but there are {self.epochs} epochs: a cycle is "
            raise ValueError(msg + "at least one epoch")
        if self.swa is not None and self.swa.from_epoch > self.epochs:
            msg = f"training.swa.from_epoch is {self.swa.from_epoch}, but there are {self.epochs} epochs: nothing "
            raise ValueError(msg + "would be averaged")
        if self.accumulate > self.batch:
            msg = f"training.accumulate is {self.accumulate}, but a batch has {self.batch} samples: a part has at "
            raise ValueError(msg + "least one")
        return self
