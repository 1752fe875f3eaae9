"""Optimisers, schedules of the learning rate, freezing of the encoder, and averages of the weights (EMA, SWA).

The learning rate is a function of the progress and of the validations so far: there is no state to save or restore.
Both averages are `torch.optim.swa_utils.AveragedModel`. The exponential one averages batch norm's running statistics
along with the weights; for the mean over epochs they are recomputed at the end, because averaged running statistics fit
no network.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.settings import EmaSettings, OptimizerSettings, ScheduleSettings, SwaSettings

Tensors = list[Tensor] | tuple[Tensor, ...]


class Muon(Optimizer):
    """AdamW, but orthogonal updates for the weights between layers of at least four channels each.

    Each such weight's Nesterov momentum, as a matrix of outputs × (inputs × kernel), is replaced by the nearest
    orthogonal matrix (K. Jordan 2024, https://kellerjordan.github.io/posts/muon), scaled to the size of AdamW's
    updates (arXiv 2502.16982), so that all weights share a learning rate.
    """

    def __init__(
        self, parameters: Iterable[Parameter], *, lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have gradients."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        state["step"] = step = state.get("step", 0) + 1
        if step == 1:
            state["mean"] = torch.zeros_like(parameter)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        if parameter.ndim > 1 and min(parameter.shape[:2]) >= 4:
            mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
            update = gradient.lerp(mean, group["momentum"]).movedim(1, -1)  # channels_last: a matrix without a copy
            matrix = _orthogonalize(update.flatten(1)).to(parameter)
            scale = 0.2 * math.sqrt(max(matrix.shape))
            parameter.sub_(matrix.view(update.shape).movedim(-1, 1), alpha=group["lr"] * scale)
        else:
            if step == 1:
                state["square"] = torch.zeros_like(parameter)
            mean = state["mean"].lerp_(gradient, 0.1)
            square = state["square"].lerp_(gradient.square(), 0.05)
            size = (square / (1 - 0.95**step)).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, size, value=-group["lr"] / (1 - 0.9**step))


def _orthogonalize(matrix: Tensor) -> Tensor:
    """Bring all singular values to about 1 by five Newton-Schulz iterations in bfloat16."""
    is_tall = len(matrix) > matrix.shape[1]
    found = matrix.mT.bfloat16() if is_tall else matrix.bfloat16()
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = found @ found.mT
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), found, beta=3.4445)
    return found.mT if is_tall else found


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "muon": Muon,
}


def create_optimizer(settings: OptimizerSettings, parameters: Iterable[Parameter]) -> Optimizer:
    """Build the optimiser that the settings describe."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.name in ("sgd", "rmsprop", "muon"):
        options["momentum"] = settings.momentum
    if settings.name == "sgd":
        options["nesterov"] = settings.momentum > 0
    return _OPTIMIZERS[settings.name](list(parameters), **options)


class Freezer:
    """Freezes the weights and batch norm statistics of a network's encoder for the first epochs."""

    def __init__(self, network: nn.Module, epochs: int) -> None:
        self._epochs = epochs
        self._encoder = _find_encoder(network) if epochs else nn.Identity()
        self._parameters = [parameter for parameter in self._encoder.parameters() if parameter.requires_grad]

    def begin_epoch(self, epoch: int) -> bool:
        """Freeze or unfreeze the encoder of a network in training mode; return True if that changes anything."""
        is_frozen = epoch <= self._epochs
        if is_frozen:
            self._encoder.eval()
        changed = any(parameter.requires_grad == is_frozen for parameter in self._parameters)
        for parameter in self._parameters:
            parameter.requires_grad_(not is_frozen)
        return changed

    def frozen_part(self, network: nn.Module, epoch: int) -> nn.Module:
        """Return the part of a copy of the network that is frozen in an epoch, or an empty module."""
        return _find_encoder(network) if epoch <= self._epochs else nn.Identity()


def _find_encoder(network: nn.Module) -> nn.Module:
    for name, module in network.named_modules():
        if name.rpartition(".")[2] == "encoder":
            assert isinstance(module, nn.Module)
            return module
    name = type(network).__name__
    msg = f"training.freeze_encoder_epochs needs a network with an encoder, as those of model smp; {name} has none: "
    raise ConfigError(f"{msg}set it to 0")


def rate_factor(
    settings: ScheduleSettings, *, progress: float, epochs: int, monitored_values: Sequence[float | None] = ()
) -> float:
    """Return the factor of the learning rate for a step, from 0 to 1.

    `progress` counts the epochs done after this step, with a fraction: 1.5 is the middle of the second epoch.
    `monitored_values` are those of the epochs so far: higher is better, None means no validation. `one_cycle` is
    Smith's super-convergence (https://arxiv.org/abs/1708.07120) as in `torch.optim.lr_scheduler.OneCycleLR`, but with
    constant momentum. `snapshots` restarts a cosine at the full rate (https://arxiv.org/abs/1704.00109). No schedule
    goes below `floor`, except in a warm-up and in the rise of `one_cycle`.

    >>> cosine = ScheduleSettings(name="cosine", warmup_epochs=1, floor=0)
    >>> [round(rate_factor(cosine, progress=p, epochs=5), 3) for p in (0.5, 1, 3, 5)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if settings.name == "plateau":
        return max(settings.floor, _plateau(settings, monitored_values))
    if settings.name == "one_cycle":
        return _one_cycle(settings, progress / epochs)
    if progress < settings.warmup_epochs:
        return progress / settings.warmup_epochs
    if settings.name == "constant":
        return 1.0
    if settings.name == "exponential":  # a step belongs to the epoch it ends in: the last is not the next epoch's
        return max(settings.floor, settings.factor ** max(0, math.ceil(progress - settings.warmup_epochs) - 1))
    return _cosines(settings, progress, epochs)


def cycle_ends(settings: ScheduleSettings, epochs: int) -> list[int]:
    """List the epochs that end a cycle.

    >>> cycle_ends(ScheduleSettings(name="snapshots", cycles=3), 10)
    [3, 6, 10]
    """
    if settings.name != "snapshots":
        return []
    return [cycle * epochs // settings.cycles for cycle in range(1, settings.cycles + 1)]


def _between(first: float, last: float, progress: float, start: float, end: float) -> float:
    """Interpolate between two factors along half a cosine."""
    done = min(1.0, (progress - start) / max(end - start, 1e-9))
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def _one_cycle(settings: ScheduleSettings, done: float) -> float:
    if done < settings.rise:
        return _between(settings.start, 1.0, done, 0.0, settings.rise)
    return _between(1.0, settings.floor, done, settings.rise, 1.0)


def _cosines(settings: ScheduleSettings, progress: float, epochs: int) -> float:
    """Fall along half a cosine in every cycle, of which `cosine` has one; a step belongs to the cycle it ends in."""
    start = 0.0
    for end in cycle_ends(settings, epochs) or [epochs]:
        if progress <= end:
            return _between(1.0, settings.floor, progress, max(start, settings.warmup_epochs), end)
        start = end
    return settings.floor


def _plateau(settings: ScheduleSettings, monitored_values: Sequence[float | None]) -> float:
    """Multiply by the factor whenever `patience` epochs in a row brought no improvement."""
    best, bad, factor = -math.inf, 0, 1.0
    for value in monitored_values:
        if value is not None and value > best:
            best, bad = value, 0
            continue
        bad += 1
        if value is not None and bad >= settings.patience:
            factor, bad = factor * settings.factor, 0
    return factor


@torch.no_grad()
def _move_average(decay: float, averaged: Tensors, current: Tensors, n_averaged: Tensor | int) -> None:
    n = int(n_averaged)
    if averaged[0].is_floating_point():
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))
    else:  # batch norm's counters
        torch._foreach_copy_(averaged, current)


class Averages:
    """The moving average of a network's weights over steps, and their mean over epochs.

    Izmailov et al.: Averaging weights leads to wider optima and better generalization, https://arxiv.org/abs/1803.05407.
    """

    def __init__(self, network: nn.Module, ema: EmaSettings | None, swa: SwaSettings | None) -> None:
        self._from_epoch = swa.from_epoch if swa else 0
        self._ema = (
            AveragedModel(network, multi_avg_fn=partial(_move_average, ema.decay), use_buffers=True) if ema else None
        )
        self._swa = AveragedModel(network) if swa else None

    def update_ema(self, network: nn.Module) -> None:
        """Update the exponential average with the weights after a step."""
        if self._ema is not None:
            self._ema.update_parameters(network)

    def update_swa(self, network: nn.Module, epoch: int) -> None:
        """Update the mean over epochs with the weights after an epoch."""
        if self._swa is not None and epoch >= self._from_epoch:
            self._swa.update_parameters(network)

    def eval_model(self, network: nn.Module) -> nn.Module:
        """Return the network to validate and save: the exponential average if there is one."""
        if self._ema is None or not self._ema.n_averaged:
            return network
        averaged: nn.Module = self._ema.module
        return averaged

    @property
    def mean(self) -> nn.Module | None:
        """The mean over epochs; None before the first that counts."""
        if self._swa is None or not self._swa.n_averaged:
            return None
        averaged: nn.Module = self._swa.module
        return averaged

    def state(self) -> dict[str, Any]:
        """Return both averages as tensors."""
        both = {"ema": self._ema, "swa": self._swa}
        return {name: average.state_dict() for name, average in both.items() if average}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore both averages."""
        for name, average in (("ema", self._ema), ("swa", self._swa)):
            if average is not None and name in state:
                average.load_state_dict(state[name])
