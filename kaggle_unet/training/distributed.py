"""Distributed training: the processes (ranks) that train one network together with DDP; usually there is one.

All ranks go through the same steps, each with its shard of every batch. Rank 0 alone writes files; what fails in one
rank fails in all, so that none is left waiting.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from kaggle_unet.data.batch import PADDING_ID, Batch
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.training.device import DeviceConfig, select_device
from kaggle_unet.training.settings import TrainingSettings

T = TypeVar("T")


class Distributed:
    """One of several processes, or the only one."""

    def __init__(self, device_config: DeviceConfig, *, devices: int = 1, nodes: int = 1) -> None:
        self.device_config = device_config
        self.precision = _precision_plugin(device_config)
        self.unused_scaler = self.precision.state_dict() if self.precision else {}
        self.fabric = Fabric(
            accelerator=device_config.device,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            plugins=[self.precision] if self.precision else None,
        )
        self.fabric.launch()

    @property
    def size(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        return self.fabric.global_rank

    @property
    def is_rank_zero(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def gather(self, work: Callable[[], T]) -> list[T]:
        """Do something in every process, and know all results in all."""
        if self.size == 1:
            return [work()]
        found = self._gather(_attempt(work))
        for result in found:
            if isinstance(result, KitError):
                raise result
        return found

    def on_rank_zero(self, work: Callable[[], T]) -> T:
        """Do something in the first process while the others wait."""
        return self.gather(work if self.is_rank_zero else _nothing)[0]  # type: ignore[return-value]

    def all_reduce_sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """Add numbers over all processes."""
        if self.size > 1:
            numbers = numbers.to(self.fabric.device, copy=True)
            torch.distributed.all_reduce(numbers)
        return numbers

    def sync_buffers(self, network: nn.Module, *, mean: bool = False) -> None:
        """Give all processes the same running statistics."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if mean and buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer.div_(self.size)
            else:
                torch.distributed.broadcast(buffer, 0)

    def _gather(self, thing: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, thing)
        return found


def init_distributed(settings: TrainingSettings, devices: int | None = None, nodes: int | None = None) -> Distributed:
    """Decide what to compute on, and start the processes that do."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device_config = select_device(
        settings.precision, settings.channels_last, compiled=settings.compile, deterministic=settings.deterministic
    )
    devices, nodes = devices or _started("LOCAL_WORLD_SIZE"), nodes or _count_nodes()
    if device_config.device == "cuda" and devices > torch.cuda.device_count():
        msg = f"--devices {devices}: this machine has {torch.cuda.device_count()}"
        raise ConfigError(msg)
    return Distributed(device_config, devices=devices, nodes=nodes)


def _started(variable: str) -> int:
    """Read what torchrun tells the processes it starts."""
    return int(os.environ.get(variable, "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _count_nodes() -> int:
    return _started("WORLD_SIZE") // _started("LOCAL_WORLD_SIZE")


def _attempt(work: Callable[[], T]) -> T | KitError:
    try:
        return work()
    except KitError as error:
        return error


def _nothing() -> None:
    return None


def _precision_plugin(device_config: DeviceConfig) -> MixedPrecision | None:
    if device_config.precision == "32":
        return None
    return MixedPrecision(
        "bf16-mixed" if device_config.precision == "bf16" else "16-mixed", device=device_config.device
    )


def rank_shard(ids: Sequence[str], distributed: Distributed) -> list[str]:
    """Take a process's share of samples."""
    return list(ids[distributed.rank :: distributed.size])


def count_samples(batch: Batch) -> int:
    """Count the samples of a batch that count."""
    return sum(id_ != PADDING_ID for id_ in batch.ids)
