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
    """Which optimiser.

    Attributes
    ----------
    name : {"adam", "adamw", "sgd", "rmsprop", "adagrad"}
        torch's own; `sgd` is with Nesterov momentum.
    learning_rate, weight_decay, momentum : float
        As torch understands them; `momentum` counts for sgd and rmsprop.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class ScheduleSettings(Settings):
    """How the learning rate goes.

    Attributes
    ----------
    name : {"constant", "cosine", "exponential", "plateau", "one_cycle", "snapshots"}
        `cosine` falls to `floor` at the last epoch, step by step; `exponential` multiplies by `factor` each epoch;
        `plateau` multiplies by `factor` after `patience` epochs without a better validation; `one_cycle` rises from
        `start` to the full rate and falls to `floor`, both along a cosine; `snapshots` is `cycles` times a cosine from
        the full rate to `floor`, each of which leaves a checkpoint `snapshot<k>.safetensors`.
    warmup_epochs : float
        The rate grows linearly from 0 over this many epochs; not for `plateau` and `one_cycle`.
    factor : float
        See `name`.
    patience : int
        Epochs, for `plateau`.
    floor : float
        Lowest rate, as a share of the first.
    start : float
        First rate of `one_cycle`, as a share of the full one.
    rise : float
        Share of the training over which `one_cycle` rises.
    cycles : int
        Of `snapshots`; their lengths in epochs differ by one at most.
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
    """An exponential moving average of the weights, step by step; it is what is validated and kept as the best.

    Attributes
    ----------
    decay : float
        Share of the old average that each step keeps; in step n it is (1 + n) / (10 + n) at most, so that the first,
        bad weights are soon forgotten.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class SwaSettings(Settings):
    """The mean of the weights after each of the last epochs (stochastic weight averaging).

    Attributes
    ----------
    from_epoch : int
        The first epoch whose weights count.
    rate : float, optional
        Learning rate from that epoch on, as a share of the first; None goes on with the schedule.
    """

    from_epoch: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(gt=0)] | None = None


class TrainingSettings(Settings):
    """How a fold is fitted.

    Attributes
    ----------
    epochs : int
        Passes over the fold's samples, at most.
    minutes : float, optional
        No epoch begins after so many minutes of training and validation, those before a resume included. Schedules
        follow `epochs` none the less, and what is reached depends on the machine.
    batch : int
        Samples a step; of each device, where there are several.
    accumulate : int
        Parts in which a batch is computed, one after the other, for less memory. Gradients add up to those of the whole
        batch where the loss is a mean over images; batch norm sees the parts.
    optimizer : OptimizerSettings
        Which optimiser.
    schedule : ScheduleSettings
        How the learning rate goes.
    freeze_encoder_epochs : int
        Epochs in which the encoder stands still, its batch norm included.
    ema : EmaSettings, optional
        A moving average of the weights.
    swa : SwaSettings, optional
        A mean over the last epochs; saved as `swa.safetensors`.
    monitor : {"score", "loss"}
        Which of the validation's numbers says what is better: for the best checkpoint, early stopping and `plateau`.
        The loss is the training's without deep supervision, and of logits before any gate.
    early_stopping : int, optional
        Stop after this many validations without a better one; None never stops early.
    validate_every : int
        Epochs between two validations; the last epoch and the ends of cycles are always validated.
    diverged_above : float, optional
        A step's loss above so many times the first epoch's mean (in that epoch: the first step's) ends the training
        with an error; None takes any.
    blank_validations : int, optional
        So many validations in a row without a single predicted object, although there are some, end the training with
        an error; None takes any.
    precision : {"auto", "32", "bf16", "fp16"}
        `auto` is bf16 where the device computes in it, else 32; `fp16` scales gradients.
    channels_last : {"auto"} or bool
        Memory layout; `auto` follows the precision.
    compile : bool
        Let `torch.compile` make one program of network and loss: minutes before the first step, faster ones after.
    deterministic : bool
        Take only operations that give the same bits each time. On a CPU they do anyway; on a GPU some are slower, and
        some networks have none.
    clip_norm : float, optional
        Gradients are clipped to this norm.
    workers : int or {"auto"}
        Processes that prepare batches; 0 prepares them in the training process. `auto` is one for each core but one, 8
        at most, on a GPU, and 0 on a CPU, whose cores are busy. Results do not depend on it.
    data_on : {"auto", "device", "workers"}
        Where gray levels, noise and normalisation are computed: by `workers`, or on the device for a whole batch at
        once. `auto` is the device where that is a CUDA GPU. Both give the same batches, but for the noise, which has
        the same distribution.
    threads : int, optional
        Threads of torch; None leaves torch's own choice. Results are identical for one number of threads only.
    seed : int
        Of weights, order and augmentation.
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
            raise ValueError(msg + "one epoch at least")
        if self.swa is not None and self.swa.from_epoch > self.epochs:
            msg = (
                f"training.swa.from_epoch is {self.swa.from_epoch}, but there are {self.epochs} epochs: nothing would "
            )
            raise ValueError(msg + "be averaged")
        if self.accumulate > self.batch:
            msg = f"training.accumulate is {self.accumulate}, but a batch has {self.batch} samples: a part is one at "
            raise ValueError(msg + "least")
        return self
