"""Averages of a network's weights: an exponential one over steps (EMA), a plain one over epochs (SWA).

Both are `torch.optim.swa_utils.AveragedModel`. The first averages batch norm's running statistics along with the
weights; for the second they are measured again at the end, because the mean of running statistics fits no network.

References
----------
.. [1] Izmailov et al.: Averaging weights leads to wider optima and better generalization, 2018.
   https://arxiv.org/abs/1803.05407
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from kaggle_unet.training.settings import EmaSettings, SwaSettings

Tensors = list[Tensor] | tuple[Tensor, ...]


class Averages:
    """The averages of one network's weights."""

    def __init__(self, network: nn.Module, ema: EmaSettings | None, swa: SwaSettings | None) -> None:
        self._from_epoch = swa.from_epoch if swa else 0
        self._ema = AveragedModel(network, multi_avg_fn=_Ema(ema.decay), use_buffers=True) if ema else None
        self._swa = AveragedModel(network) if swa else None

    def after_step(self, network: nn.Module) -> None:
        """Update the exponential average with the weights after a step."""
        if self._ema is not None:
            self._ema.update_parameters(network)

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
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
        found = {"ema": self._ema, "swa": self._swa}
        return {name: average.state_dict() for name, average in found.items() if average is not None}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore both averages."""
        for name, average in (("ema", self._ema), ("swa", self._swa)):
            if average is not None and name in state:
                average.load_state_dict(state[name])


class _Ema:
    """One update of the moving average; a class, as `AveragedModel` may be copied."""

    def __init__(self, decay: float) -> None:
        self._decay = decay

    @torch.no_grad()
    def __call__(self, averaged: Tensors, current: Tensors, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        decay = min(self._decay, (1 + n) / (10 + n))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:  # batch norm's counters
            torch._foreach_copy_(averaged, current)


def measure_norms(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Recompute batch norm's statistics as the mean over batches.

    Dropout is on, as it is while training.
    """
    update_bn(inputs, network)
