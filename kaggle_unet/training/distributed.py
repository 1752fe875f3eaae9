"""Distributed training: the processes (ranks) that train one network together with DDP; usually there is only one.

All ranks take the same steps, each on its shard of every batch. Only rank 0 writes files; a failure in one rank fails
all of them, so that none is left waiting.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from kaggle_unet.data.batch import PADDING_ID, Batch
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.training.device import DeviceConfig, select_device
from kaggle_unet.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric.plugins.precision import MixedPrecision

T = TypeVar("T")


class Distributed:
    """One rank of the processes that train together."""

    def __init__(self, device_config: DeviceConfig, *, devices: int = 1, nodes: int = 1) -> None:
        from lightning_fabric import Fabric  # a second to import, which predictions need not wait for

        self.device_config = device_config
        self.precision = _precision_plugin(device_config)
        self.unused_scaler = self.precision.state_dict() if self.precision else {}
        with warnings.catch_warnings():  # people also train on cluster machines without srun
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            self.fabric = Fabric(
                accelerator=device_config.device,
                devices=devices,
                num_nodes=nodes,
                strategy="ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto",
                plugins=[self.precision] if self.precision else None,
            )
        self.fabric.launch()
        self.size, self.rank = self.fabric.world_size, self.fabric.global_rank
        self.is_rank_zero = self.rank == 0

    def gather(self, work: Callable[[], T]) -> list[T]:
        """Call `work` in every rank, and return all results in each; a `KitError` in one is raised in all."""
        if self.size == 1:
            return [work()]
        result: T | KitError
        try:
            result = work()
        except KitError as error:
            result = error
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, result)
        for result in found:
            if isinstance(result, KitError):
                raise result
        return found

    def on_rank_zero(self, work: Callable[[], T]) -> T:
        """Call `work` in rank 0 while the others wait, and return its result in all."""
        result: T = self.gather(work if self.is_rank_zero else lambda: None)[0]  # type: ignore[assignment]
        return result

    def all_reduce_sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all ranks."""
        if self.size > 1:
            numbers = numbers.to(self.fabric.device, copy=True)
            torch.distributed.all_reduce(numbers)
        return numbers

    def sync_buffers(self, network: nn.Module, *, mean: bool = False) -> None:
        """Set the running statistics of all ranks to those of rank 0, or to their mean."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if mean and buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer.div_(self.size)
            else:
                torch.distributed.broadcast(buffer, 0)


def init_distributed(settings: TrainingSettings, devices: int | None = None, nodes: int | None = None) -> Distributed:
    """Select the device, and start the processes that train on it; under torchrun they are already running."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device_config = select_device(
        settings.precision, settings.channels_last, compiled=settings.compile, deterministic=settings.deterministic
    )
    devices = devices or _read_torchrun("LOCAL_WORLD_SIZE")
    nodes = nodes or _read_torchrun("WORLD_SIZE") // _read_torchrun("LOCAL_WORLD_SIZE")
    if device_config.device == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"--devices {devices}: this machine has {torch.cuda.device_count()}")
    return Distributed(device_config, devices=devices, nodes=nodes)


def _read_torchrun(variable: str) -> int:
    """Read one of torchrun's variables; 1 without torchrun."""
    return int(os.environ.get(variable, "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _precision_plugin(device_config: DeviceConfig) -> "MixedPrecision | None":
    from lightning_fabric.plugins.precision import MixedPrecision

    if device_config.precision == "32":  # no mixed precision
        return None
    return MixedPrecision(
        "bf16-mixed" if device_config.precision == "bf16" else "16-mixed", device=device_config.device
    )


def rank_shard(ids: Sequence[str], distributed: Distributed) -> list[str]:
    """Return this rank's shard of samples."""
    return list(ids[distributed.rank :: distributed.size])


def count_samples(batch: Batch) -> int:
    """Count the samples of a batch without padding items."""
    return sum(id_ != PADDING_ID for id_ in batch.ids)
