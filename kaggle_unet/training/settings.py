"""What a config says about training; free of torch."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kaggle_unet.types import Settings


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
    """How the learning rate falls.

    Attributes
    ----------
    name : {"constant", "cosine", "exponential", "plateau"}
        `cosine` falls to `floor` at the last epoch, step by step; `exponential` multiplies by `factor` each epoch;
        `plateau` multiplies by `factor` after `patience` epochs without a better validation score.
    warmup_epochs : float
        The rate grows linearly from 0 over this many epochs; not for `plateau`.
    factor : float
        See `name`.
    patience : int
        Epochs, for `plateau`.
    floor : float
        Lowest rate, as a share of the first.
    """

    name: Literal["constant", "cosine", "exponential", "plateau"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.01


class TrainingSettings(Settings):
    """How a fold is fitted.

    Attributes
    ----------
    epochs : int
        Passes over the fold's samples, at most.
    batch : int
        Samples a step.
    optimizer : OptimizerSettings
        Which optimiser.
    schedule : ScheduleSettings
        How the learning rate falls.
    early_stopping : int, optional
        Stop after this many validations without a better score; None never stops early.
    validate_every : int
        Epochs between two validations; the last epoch is always validated.
    precision : {"auto", "32", "bf16", "fp16"}
        `auto` is bf16 where the device computes in it, else 32; `fp16` scales gradients.
    channels_last : {"auto"} or bool
        Memory layout; `auto` follows the precision.
    clip_norm : float, optional
        Gradients are clipped to this norm.
    workers : int
        Processes that prepare batches; 0 prepares them in the training process.
    threads : int, optional
        Threads of torch; None leaves torch's own choice. Results are identical for one number of threads only.
    seed : int
        Of weights, order and augmentation.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch: Annotated[int, Field(ge=1)] = 16
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    validate_every: Annotated[int, Field(ge=1)] = 1
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(_spell_number)] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
