"""One epoch: forward, loss, backward, step, again."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim import Optimizer

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import KitError, ResourceError
from kaggle_unet.training.precision import Decided

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


class Learner:
    """A network and its optimiser on a device.

    Parameters
    ----------
    network : Module
        Moved to the device.
    optimizer : Optimizer
        Of its parameters.
    decided : Decided
        Device, precision and layout.
    clip_norm : float, optional
        Gradients are clipped to this norm.

    Attributes
    ----------
    network : Module
        As given, for its state.
    optimizer : Optimizer
        As given, for its state.
    """

    def __init__(
        self, network: nn.Module, optimizer: Optimizer, decided: Decided, *, clip_norm: float | None = None
    ) -> None:
        self.network = network.to(memory_format=decided.memory_format)
        self.optimizer = optimizer
        self._clip_norm = clip_norm
        self._layout = decided.memory_format
        self._precision = _precision_plugin(decided)
        self._fabric = Fabric(
            accelerator=decided.device, devices=1, plugins=[self._precision] if self._precision else None
        )
        self._fabric.launch()
        self._model, self._moving = self._fabric.setup(self.network, self.optimizer)

    def learn(self, batch: Batch, loss: Loss) -> tuple[float, dict[str, float]]:
        """Move the weights once.

        Parameters
        ----------
        batch : Batch
            Samples.
        loss : callable
            Takes logits, planes and weights; gives the loss and its parts.

        Returns
        -------
        value : float
            The loss, before the weights moved.
        parts : dict of str to float
            Its parts.

        Raises
        ------
        ResourceError
            If the device's memory does not hold the batch.
        """
        with _enough_memory(batch.inputs, "training.batch or augmentation.crop_px"):
            value, parts = loss(self._forward(batch.inputs), self._here(batch.planes), self._here(batch.weights))
            self._moving.zero_grad()
            self._fabric.backward(value)
            if self._clip_norm is not None:
                self._fabric.clip_gradients(
                    self._model, self._moving, max_norm=self._clip_norm, error_if_nonfinite=False
                )
            self._moving.step()
            return float(value.detach()), {name: float(part) for name, part in parts.items()}

    def predict(self, inputs: Tensor) -> Tensor:
        """Compute logits without learning.

        Parameters
        ----------
        inputs : float32 tensor, shape (B, channels, H, W)
            Anywhere.

        Returns
        -------
        logits : float32 tensor, shape (B, C, H', W')
            On the device.

        Raises
        ------
        ResourceError
            If the device's memory does not hold the batch.
        """
        with torch.inference_mode(), _enough_memory(inputs, "inference.batch"):
            return self._forward(inputs)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters.

        Parameters
        ----------
        rate : float
            From the next step on.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def scaler_state(self) -> dict[str, Any]:
        """Give what scales the gradients of fp16, as plain values; empty otherwise.

        Returns
        -------
        state : dict
            For `load_scaler_state`.
        """
        return self._precision.state_dict() if self._precision else {}

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Go on scaling where another learner stopped.

        Parameters
        ----------
        state : dict
            From `scaler_state`; nothing happens where either side does not scale.
        """
        if self._precision and state:
            self._precision.load_state_dict(state)

    def _forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self._model(self._here(inputs).contiguous(memory_format=self._layout))
        return logits

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._fabric.device, non_blocking=True)


@contextmanager
def _enough_memory(inputs: Tensor, setting: str) -> Iterator[None]:
    """Say which setting to lower where a device runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        shape = " × ".join(str(side) for side in inputs.shape)
        msg = f"inputs of {shape} do not fit into the device's memory; lower {setting}"
        raise ResourceError(msg) from error


def _precision_plugin(decided: Decided) -> MixedPrecision | None:
    if decided.precision == "32":
        return None
    return MixedPrecision("bf16-mixed" if decided.precision == "bf16" else "16-mixed", device=decided.device)


@dataclass(frozen=True)
class EpochMeans:
    """Means of an epoch over its samples.

    Attributes
    ----------
    loss : float
        The whole loss.
    parts : dict of str to float
        Its parts.
    images : int
        How many samples there were.
    """

    loss: float
    parts: dict[str, float]
    images: int


def train_epoch(
    learner: Learner,
    batches: Iterable[Batch],
    *,
    loss: Loss,
    rate: Callable[[int], float],
    epoch: int,
    on_step: Callable[[int, float, int], None],
) -> EpochMeans:
    """Go through an epoch once.

    Parameters
    ----------
    learner : Learner
        Changed.
    batches : iterable of Batch
        The epoch.
    loss : callable
        Takes logits, planes and weights; gives the loss and its parts.
    rate : callable
        Gives the learning rate of a step, from 1.
    epoch : int
        For messages.
    on_step : callable
        Called after each step with its number, its loss and how many samples it had.

    Returns
    -------
    means : EpochMeans
        Over all samples; each step's loss is from before the weights moved.

    Raises
    ------
    KitError
        If the loss is not finite, or a worker process died.
    """
    learner.network.train()
    sums: dict[str, float] = {}
    n_images = 0
    for step, batch in enumerate(_alive(batches), 1):
        learner.set_rate(rate(step))
        value, parts = learner.learn(batch, loss)
        if not math.isfinite(value):
            raise KitError(_explain_loss(value, parts, epoch, step, batch.ids))
        n_images += len(batch.ids)
        for name, part in {"": value, **parts}.items():
            sums[name] = sums.get(name, 0.0) + part * len(batch.ids)
        on_step(step, value, len(batch.ids))
    assert n_images, "an epoch without samples"
    means = {name: total / n_images for name, total in sums.items()}
    return EpochMeans(means.pop(""), means, n_images)


def _alive(batches: Iterable[Batch]) -> Iterable[Batch]:
    """Turn torch's report of a dead worker into one that says what to do."""
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        msg = f"a process that prepares batches has died ({error}); often memory has run out: set training.workers to "
        msg += "fewer or 0, and go on with --resume"
        raise KitError(msg) from error


def _explain_loss(value: float, parts: dict[str, float], epoch: int, step: int, ids: list[str]) -> str:
    terms = ", ".join(f"{name} {part:g}" for name, part in parts.items())
    return (
        f"epoch {epoch}, step {step}: the loss is {value} ({terms}) on the samples {', '.join(ids)}; the checkpoints "
        "of earlier epochs are whole. Lower training.optimizer.learning_rate, set training.clip_norm, or try "
        "training.precision 32; if it is always the same sample, look at that one"
    )
