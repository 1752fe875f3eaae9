"""The training step: forward in mixed precision, loss, backward, clipping, optimiser, averages."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import ConfigError, ResourceError
from kaggle_unet.models.heads import Outputs, forward_all
from kaggle_unet.training.distributed import Distributed, count_samples
from kaggle_unet.training.schedules import Averages, Freezer, create_optimizer
from kaggle_unet.training.settings import TrainingSettings

# outputs of the network, planes, weights -> the loss and its terms
Loss = Callable[[Any, Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


class StepResult(NamedTuple):
    """The loss of one step before its update; `can_continue` is also True if training can go on without that update."""

    loss: float
    parts: dict[str, float]
    images: int
    can_continue: bool


class Learner:
    """A network in training, with its loss, optimiser and averages, on a device."""

    def __init__(self, network: nn.Module, loss: Loss, settings: TrainingSettings, distributed: Distributed) -> None:
        self.network = network.to(distributed.fabric.device).to(memory_format=distributed.device_config.memory_format)
        self.optimizer = create_optimizer(settings.optimizer, network.parameters())
        self.averages = Averages(self.network, settings.ema, settings.swa)
        self._freezer = Freezer(self.network, settings.freeze_encoder_epochs)
        self._settings = settings
        self._distributed = distributed
        self._fabric = distributed.fabric
        self._model_with_loss = _ModelWithLoss(self.network, loss, distributed.device_config.device)
        self.skipped_steps = 0
        self.load_scaler_state(distributed.unused_scaler)
        self._set_up()

    @property
    def eval_model(self) -> nn.Module:
        """The network to validate and save: the moving average if there is one."""
        return self.averages.eval_model(self.network)

    def begin_epoch(self, epoch: int) -> None:
        """Set training mode, and freeze or unfreeze the encoder."""
        self.skipped_steps = 0
        self.network.train()
        if self._freezer.begin_epoch(epoch) and self._distributed.size > 1:
            self._set_up()  # DDP determines only once which parameters to reduce

    def learn(self, batch: Batch, *, max_loss: float = float("inf")) -> StepResult:
        """Take one step, unless the loss or a gradient is not finite or the loss is above `max_loss`.

        The fp16 scaler skips steps until its factor is low enough; if that falls below 1, the gradients are at fault.
        """
        with _translate_errors(batch.inputs, "training.batch or augmentation.crop_px, or raise training.accumulate"):
            self._fabric_optimizer.zero_grad()
            result = self._accumulate(batch)
            if not math.isfinite(result.loss) or result.loss > max_loss or not self._clip():
                return result
            factor = self._scaler_factor()
            self._fabric_optimizer.step()
            if (lowered := self._scaler_factor()) < factor:
                self.skipped_steps += 1
                return result._replace(can_continue=lowered >= 1)
            self.averages.update_ema(self.network)
            return result._replace(can_continue=True)

    def backward_only(self, batch: Batch) -> None:
        """Compute a batch's gradients without a step, to count operations."""
        with self._fabric.autocast():
            targets = self._to_device(batch.planes), self._to_device(batch.weights)
            value, _ = self._model_with_loss(self._inputs(batch.inputs), *targets)
        value.backward()
        self._fabric_optimizer.zero_grad()

    def predict(self, inputs: Tensor, network: nn.Module | None = None) -> Tensor | Outputs:
        """Compute the outputs of a network in evaluation mode."""
        with torch.no_grad(), _translate_errors(inputs, "inference.batch"), self._fabric.autocast():
            found = forward_all(network or self.network, self._inputs(inputs))
        return found.float() if isinstance(found, Tensor) else found._replace(logits=found.logits.float())

    def update_batch_norm(self, network: nn.Module, batches: Iterable[Batch], epoch: int) -> None:
        """Recompute the batch-norm statistics of weights averaged up to an epoch, with dropout on, as in training."""
        frozen = self._freezer.frozen_part(network, epoch)
        held = {name: buffer.clone() for name, buffer in frozen.named_buffers()}

        def inputs() -> Iterator[Tensor]:
            frozen.eval().load_state_dict(held, strict=False)  # `update_bn` has just reset it
            for batch in batches:
                yield self._inputs(batch.inputs)

        with self._fabric.autocast():
            update_bn(inputs(), network)
        self._distributed.sync_buffers(network, mean=True)

    def is_finite(self) -> bool:
        """Return True if all weights are finite."""
        return all(bool(parameter.isfinite().all()) for parameter in self.network.parameters())

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def scaler_state(self) -> dict[str, Any]:
        """Return the state of the fp16 gradient scaler; empty for other precisions."""
        return self._distributed.precision.state_dict() if self._distributed.precision else {}

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Restore the state of the fp16 gradient scaler."""
        if self._distributed.precision and state:
            self._distributed.precision.load_state_dict(state)

    def _scaler_factor(self) -> float:
        scaler = self._distributed.precision.scaler if self._distributed.precision else None
        return scaler.get_scale() if scaler else 1.0

    def _set_up(self) -> None:
        model_with_loss: Any = (
            torch.compile(self._model_with_loss) if self._distributed.device_config.compiled else self._model_with_loss
        )
        self._model, self._fabric_optimizer = self._fabric.setup(model_with_loss, self.optimizer)

    def _accumulate(self, batch: Batch) -> StepResult:
        """Accumulate the gradients of the parts of a batch, each weighted by its share of all ranks' samples."""
        total = self._distributed.all_reduce_sum(torch.tensor(float(count_samples(batch)))).item()
        parts = _split(batch, self._settings.accumulate)
        sums = None
        for number, part in enumerate(parts, 1):
            with self._fabric.no_backward_sync(self._model, enabled=number < len(parts)):
                targets = self._to_device(part.planes), self._to_device(part.weights)
                value, terms = self._model(self._inputs(part.inputs), *targets)
                fraction = count_samples(part) / total
                self._fabric.backward(value * (fraction * self._distributed.size))  # DDP takes the mean over processes
            found = torch.stack([value.detach(), *(term.detach() for term in terms.values())]) * fraction
            sums = found if sums is None else sums + found
        assert sums is not None
        loss, *values = self._distributed.all_reduce_sum(sums).tolist()
        return StepResult(loss, dict(zip(terms, values, strict=True)), int(total), can_continue=False)

    def _clip(self) -> bool:
        """Clip the gradients if the settings say so; return False if they are known not to be finite."""
        if self._settings.clip_norm is None:
            return True
        norm = self._fabric.clip_gradients(
            self._model, self._fabric_optimizer, max_norm=self._settings.clip_norm, error_if_nonfinite=False
        )
        # fp16 has a scaler, which skips such a step and goes on with a smaller factor
        return self._distributed.device_config.precision == "fp16" or bool(torch.as_tensor(norm).isfinite())

    def _inputs(self, inputs: Tensor) -> Tensor:
        return self._to_device(inputs).contiguous(memory_format=self._distributed.device_config.memory_format)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._fabric.device, non_blocking=True)


class _ModelWithLoss(nn.Module):
    """Network and loss as one module, so that DDP and the compiler see everything from inputs to loss."""

    def __init__(self, network: nn.Module, loss: Loss, device: str) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.idle = nn.Parameter(torch.zeros(()))  # DDP looks for unused parameters, and complains if there are none
        self._device_type = device

    def forward(self, inputs: Tensor, planes: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = self.network(inputs)
        with torch.autocast(self._device_type, enabled=False):
            value, parts = self.loss(outputs.float() if isinstance(outputs, Tensor) else outputs, planes, weights)
        return value, dict(parts)


def _split(batch: Batch, n: int) -> list[Batch]:
    """Split a batch into at most n parts, as equal as possible."""
    size = len(batch.ids)
    ends = [size * number // n for number in range(n + 1)]
    cuts = [slice(start, end) for start, end in pairwise(ends) if end > start]
    return [Batch(batch.inputs[cut], batch.planes[cut], batch.weights[cut], batch.ids[cut]) for cut in cuts]


@contextmanager
def _translate_errors(inputs: Tensor, setting: str) -> Iterator[None]:
    """Turn the device's errors into errors that name the setting to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        shape = " × ".join(str(side) for side in inputs.shape)
        raise ResourceError(f"inputs of {shape} do not fit into the device's memory; lower {setting}") from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        msg = "a batch of one crop whose lowest level is one pixel cannot be normalised; change training.batch so that "
        msg += "no single crop is left over, raise augmentation.crop_px, or choose model.norm group"
        raise ConfigError(msg) from error
    except RuntimeError as error:
        if "does not have a deterministic implementation" in str(error):
            msg = f"training.deterministic: {str(error).split('.')[0]}; choose another component, or set it to false"
            raise ConfigError(msg) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            msg = f"training.compile: {str(error).splitlines()[0]}; fix that (it needs a C++ compiler), or set it to "
            raise ConfigError(msg + "false") from error
        raise
