"""The optimisers of torch, by name."""

from collections.abc import Callable, Iterable

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from kaggle_unet.training.settings import OptimizerSettings


def create_optimizer(settings: OptimizerSettings, parameters: Iterable[Parameter]) -> Optimizer:
    """Make an optimiser."""
    return OPTIMIZERS[settings.name](list(parameters), settings)


OPTIMIZERS: dict[str, Callable[[list[Parameter], OptimizerSettings], Optimizer]] = {
    "adam": lambda parameters, settings: torch.optim.Adam(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    ),
    "adamw": lambda parameters, settings: torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    ),
    "sgd": lambda parameters, settings: torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
    ),
    "rmsprop": lambda parameters, settings: torch.optim.RMSprop(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, momentum=settings.momentum
    ),
    "adagrad": lambda parameters, settings: torch.optim.Adagrad(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    ),
}
