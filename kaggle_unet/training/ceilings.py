"""What a device can do at best, and what one training step asks of it: the two sides of a roofline.

Both ceilings are measured on the device as it is now, not read from a data sheet.

References
----------
.. [1] Williams, Waterman, Patterson: Roofline, 2009. https://doi.org/10.1145/1498765.1498785
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kaggle_unet.data.batch import Batch
from kaggle_unet.training.learner import Learner

_REPEATS = 5


def measure_ceilings(device: torch.device, dtype: torch.dtype | None) -> tuple[float, float]:
    """Measure matrix products and copies, each at its best of five."""
    is_cuda = device.type == "cuda"
    side, n_bytes = (8192, 1 << 30) if is_cuda else (1024, 1 << 27)
    left, right = (torch.rand(side, side, device=device).to(dtype or torch.float32) for _ in range(2))
    source = torch.zeros(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    product = _best_seconds(lambda: left @ right, device)
    copy = _best_seconds(lambda: target.copy_(source), device)
    return 2 * side**3 / product, 2 * n_bytes / copy


def count_step(learner: Learner, batch: Batch) -> tuple[int, int]:
    """Count what forward and backward pass of a batch ask for."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        learner.rehearse(batch)
    return flops.get_total_flops(), traffic.n_bytes


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the bytes of everything that goes into an operation or comes out of it; views are free."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        found = func(*args, **(kwargs or {}))
        is_view = any(given.alias_info and not given.alias_info.is_write for given in func._schema.returns)
        if not is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)]
            self.n_bytes += sum(tensor.nbytes for tensor in tensors)
        return found


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time something after a first run that does not count."""
    seconds = []
    for _ in range(_REPEATS + 1):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
