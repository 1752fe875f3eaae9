"""`bench-train`: how fast the training loop is, how fast it could be, and how fast plain code would be.

Three loops take turns in one run, so that other load on the machine hits all of them: the training loop, the same steps
on one batch that is always there, and those steps in fp32 with contiguous tensors and nothing compiled. The bare step
is compared with the two sides of a roofline [1]_, what the device does at best, both measured and not read from a data
sheet.

References
----------
.. [1] Williams, Waterman, Patterson: Roofline, 2009. https://doi.org/10.1145/1498765.1498785
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from itertools import repeat as again
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kaggle_unet.config import Config
from kaggle_unet.data.batch import Batch
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.steps.build import build_model, loss_of, training_set_of
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.store import Store
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder, write_tgs_zip
from kaggle_unet.training.device import count_workers, seed_everything
from kaggle_unet.training.distributed import Distributed, init_distributed
from kaggle_unet.training.fold import open_loader, train_epoch
from kaggle_unet.training.step import Learner
from kaggle_unet.types import Result

_REPEATS = 5


def measure_roofline(device: torch.device, dtype: torch.dtype | None) -> tuple[float, float]:
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
        learner.backward_only(batch)
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


REAL, BARE, PLAIN = "real loop", "bare step", "plain fp32 loop"
_DRAWN = 24  # samples of a drawn store


@dataclass(frozen=True)
class _Loop:
    """A way to go through some steps: who learns, and from what in the n-th round."""

    learner: Learner
    device: torch.device
    batches: Callable[[int], Iterable[Batch]]

    def images_per_s(self, number: int) -> float:
        """Go through the steps of a round."""
        start = time.perf_counter()
        _, n_images = train_epoch(
            self.learner, self.batches(number), rate=lambda _: 0.0, epoch=number, on_step=lambda *_: None
        )
        synchronize(self.device)
        return n_images / (time.perf_counter() - start)


class LoopSpeed(Result):
    """Images a second of a loop: the median of its rounds, and the extremes."""

    images_per_s: float
    lowest: float
    highest: float


class RooflineShare(Result):
    """What the device does at best, and the fraction of it that the bare step reaches."""

    measured: float
    unit: str
    share: float


class TrainingSpeed(Result):
    """How fast training is."""

    data: str
    batch: int
    inputs: str
    workers: int
    steps: int
    rounds: int
    device: dict[str, Any]
    loops: dict[str, LoopSpeed]
    ratios: dict[str, float]
    ceilings: dict[str, RooflineShare]


def bench_train(
    config: Config, store_folder: Path, *, steps: int = 12, repeat: int = 5, on_progress: OnProgress = lambda *_: None
) -> TrainingSpeed:
    """Measure training in images a second.

    Learning rates are 0, so that no loop trains further than another; nothing else is left out. A round of the real
    loop is a whole epoch of so many samples, the time until the first batch is there included. The plain loop is what
    the bare step is compared with, so it has the bare step's batch and its optimiser.
    """
    settings = config.training
    seed_everything(settings.seed, settings.threads, deterministic=settings.deterministic)
    distributed = init_distributed(settings, devices=1, nodes=1)
    n_samples = math.ceil(steps * settings.batch / config.augmentation.crops_per_image)
    with _samples(config, store_folder, n_samples) as (training_set, data):
        loader = open_loader(training_set, settings, distributed)
        batch = next(loader.epoch(1))
        loops = _prepare_loops(config, distributed, loader, batch, steps)
        speeds = _take_turns(loops, repeat, on_progress)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return TrainingSpeed(
        data=f"{data}, inputs made {'on the device' if loader.device else 'by workers'}",
        batch=len(batch.ids),
        inputs=" × ".join(map(str, batch.inputs.shape[1:])),
        workers=count_workers(settings.workers, distributed.device_config.device),
        steps=steps,
        rounds=repeat,
        device={**distributed.device_config.record, "text": distributed.device_config.text},
        loops={
            name: LoopSpeed(images_per_s=medians[name], lowest=min(values), highest=max(values))
            for name, values in speeds.items()
        },
        ratios={f"{one} / {other}": medians[one] / medians[other] for one, other in ((REAL, BARE), (BARE, PLAIN))},
        ceilings=_compare(loops[BARE].learner, distributed, batch, medians[BARE]),
    )


def _prepare_loops(
    config: Config, distributed: Distributed, loader: BatchLoader, batch: Batch, steps: int
) -> dict[str, _Loop]:
    device = distributed.fabric.device
    plain = Distributed(replace(distributed.device_config, precision="32", channels_last=False, compiled=False))
    learner, simple = (
        Learner(build_model(config), loss_of(config), config.training, one) for one in (distributed, plain)
    )
    return {
        REAL: _Loop(learner, device, lambda number: _epochs(loader, number, steps)),
        BARE: _Loop(learner, device, lambda _: again(batch, steps)),
        PLAIN: _Loop(simple, device, lambda _: again(batch, steps)),
    }


def _take_turns(loops: dict[str, _Loop], n_rounds: int, on_progress: OnProgress) -> dict[str, list[float]]:
    """Run all loops once to warm up, then in turns."""
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(n_rounds + 1):
        for name, loop in loops.items():
            speed = loop.images_per_s(number + 1)
            if number:
                speeds[name].append(speed)
        on_progress("rounds", number + 1, n_rounds + 1)
    return speeds


def _epochs(loader: BatchLoader, number: int, steps: int) -> Iterator[Batch]:
    """Go through as many whole epochs as `steps` take, other ones in each round."""
    n_epochs = math.ceil(steps / len(loader))
    first = 1 + (number - 1) * n_epochs
    return chain.from_iterable(loader.epoch(epoch) for epoch in range(first, first + n_epochs))


def _compare(learner: Learner, distributed: Distributed, batch: Batch, images_per_s: float) -> dict[str, RooflineShare]:
    """Compare the bare step with what the device does at best."""
    n_flops, n_bytes = count_step(learner, batch)
    steps_per_s = images_per_s / len(batch.ids)
    flops, copied = measure_roofline(distributed.fabric.device, distributed.device_config.autocast_dtype)
    return {
        "matrix product": RooflineShare(measured=flops / 1e12, unit="TFLOP/s", share=n_flops * steps_per_s / flops),
        "memory copy": RooflineShare(measured=copied / 1e9, unit="GB/s", share=n_bytes * steps_per_s / copied),
    }


@contextmanager
def _samples(config: Config, store_folder: Path, n: int) -> Iterator[tuple[TrainingSet, str]]:
    """Take so many samples of a store, or of one that is drawn and forgotten afterwards."""
    if (store_folder / "manifest.json").exists():
        store = Store.open(store_folder)
        yield training_set_of(config, store, store.ids[:n]), f"{len(store.ids[:n])} samples of {store.folder}"
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = config.model_copy(update={"competition": config.competition.model_copy(update={"folds": None})})
        data = _draw(drawn, Path(folder), min(n, _DRAWN))
        make_targets(drawn, str(data), Path(folder) / "store", fold_file=None, skip_bad=False, workers=1)
        store = Store.open(Path(folder) / "store")
        yield training_set_of(drawn, store, store.ids), f"{len(store.ids)} drawn samples, as there is no {store_folder}"


def _draw(config: Config, folder: Path, n: int) -> Path:
    """Draw images of the sizes that the competition has most."""
    competition = config.competition
    if competition.name == "tgs":
        write_tgs_zip(folder / "train.zip", 0, n)
        return folder / "train.zip"
    if competition.name == "dsb2018":
        write_dsb_zip(folder / "train.zip", 0, n, shape=(256, 256))
        return folder / "train.zip"
    write_folder(folder / "data", 0, n, shape=(256, 256))
    for drawn, wanted in (("images", competition.images), ("masks", competition.masks)):
        (folder / "data" / wanted).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / drawn).rename(folder / "data" / wanted)
    return folder / "data"
