"""`bench-train`: how fast the training loop is, how fast it could be, and how fast plain code would be.

Three loops take turns in one run, so that other load on the machine affects all of them alike: the training loop, the
same steps on one batch that is always at hand, and those steps in fp32 with contiguous tensors and nothing compiled.
The bare step is compared with the two sides of a roofline (https://doi.org/10.1145/1498765.1498785), the device's peak
rates, both measured rather than read from a data sheet.
"""

import math
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from itertools import repeat as again
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.config import Config
from kaggle_unet.data.batch import Batch
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.build import build_loss, build_model, build_training_set
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.store import Store
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder, write_tgs_zip
from kaggle_unet.training.device import AUTOCAST_DTYPES, count_workers, seed_everything
from kaggle_unet.training.distributed import Distributed, init_distributed
from kaggle_unet.training.fold import open_loader, train_epoch
from kaggle_unet.training.step import Learner
from kaggle_unet.types import Result

REAL, BARE, PLAIN = "real loop", "bare step", "plain fp32 loop"
_REPEATS = 5  # of a product or a copy; the best one counts
_DRAWN = 24  # samples in a drawn store
_USUAL_SHAPE = (256, 256)  # of most images of DSB2018


class TrainingSpeed(Result):
    """Images per second of each loop, and the fraction of the device's peak rates that the bare step reaches."""

    data: str
    batch: int
    inputs: str
    workers: int
    steps: int
    rounds: int
    device: dict[str, Any]
    loops: dict[str, dict[str, float]]
    ratios: dict[str, float]
    roofline: Annotated[dict[str, dict[str, Any]], Field(serialization_alias="ceilings")]


def bench_train(
    config: Config, store_folder: Path, *, steps: int = 12, repeat: int = 5, on_progress: OnProgress = lambda *_: None
) -> TrainingSpeed:
    """Measure training in images per second.

    Learning rates are 0, so that no loop trains further than another; nothing else is left out. A round of the real
    loop consists of whole epochs, including the time until the first batch is ready. The bare step is compared with
    the plain loop, which therefore has the same batch and optimiser.
    """
    settings = config.training
    seed_everything(settings.seed, deterministic=settings.deterministic)
    distributed = init_distributed(settings, devices=1, nodes=1)
    device_config = distributed.device_config
    plain = Distributed(replace(device_config, precision="32", channels_last=False, compiled=False))
    learner, simple = (Learner(build_model(config), build_loss(config), settings, env) for env in (distributed, plain))
    n_samples = math.ceil(steps * settings.batch / config.augmentation.crops_per_image)
    with _samples(config, store_folder, n_samples) as (training_set, data):
        loader = open_loader(training_set, settings, distributed)
        batch = next(loader.epoch(1))
        loops: dict[str, Callable[[int], float]] = {
            REAL: lambda number: images_per_s(learner, _epochs(loader, number, steps), number),
            BARE: lambda number: images_per_s(learner, again(batch, steps), number),
            PLAIN: lambda number: images_per_s(simple, again(batch, steps), number),
        }
        speeds = _take_turns(loops, repeat, on_progress)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return TrainingSpeed(
        data=f"{data}, inputs made {'on the device' if loader.device else 'by workers'}",
        batch=len(batch.ids),
        inputs=" × ".join(map(str, batch.inputs.shape[1:])),
        workers=count_workers(settings.workers, device_config.device),
        steps=steps,
        rounds=repeat,
        device={**device_config.record, "text": device_config.text},
        loops={
            name: {"images_per_s": medians[name], "lowest": min(values), "highest": max(values)}
            for name, values in speeds.items()
        },
        ratios={f"{fast} / {slow}": medians[fast] / medians[slow] for fast, slow in ((REAL, BARE), (BARE, PLAIN))},
        roofline=_compare(learner, distributed, batch, medians[BARE] / len(batch.ids)),
    )


def images_per_s(learner: Learner, batches: Iterable[Batch], epoch: int) -> float:
    """Measure the speed of training steps that learn nothing."""
    start = time.perf_counter()
    _, n_images = train_epoch(learner, batches, rate=lambda _: 0.0, epoch=epoch, on_step=lambda *_: None)
    _synchronize()
    return n_images / (time.perf_counter() - start)


def _epochs(loader: BatchLoader, number: int, steps: int) -> Iterator[Batch]:
    """Go through as many whole epochs as `steps` need, different ones in each round."""
    n_epochs = math.ceil(steps / len(loader))
    first = 1 + (number - 1) * n_epochs
    return chain.from_iterable(loader.epoch(epoch) for epoch in range(first, first + n_epochs))


def _take_turns(
    loops: Mapping[str, Callable[[int], float]], n_rounds: int, on_progress: OnProgress
) -> dict[str, list[float]]:
    """Run all loops once to warm up, then in turns."""
    rounds = []
    for number in range(1, n_rounds + 2):
        rounds.append([loop(number) for loop in loops.values()])
        on_progress("rounds", number, n_rounds + 1)
    return {name: list(values) for name, values in zip(loops, zip(*rounds[1:], strict=True), strict=True)}


def _compare(learner: Learner, distributed: Distributed, batch: Batch, steps_per_s: float) -> dict[str, dict[str, Any]]:
    """Compare the bare step with the device's peak rates."""
    n_flops, n_bytes = count_step(learner, batch)
    flops, copied = measure_roofline(distributed.fabric.device, AUTOCAST_DTYPES[distributed.device_config.precision])
    return {
        "matrix product": {"measured": flops / 1e12, "unit": "TFLOP/s", "share": n_flops * steps_per_s / flops},
        "memory copy": {"measured": copied / 1e9, "unit": "GB/s", "share": n_bytes * steps_per_s / copied},
    }


def count_step(learner: Learner, batch: Batch) -> tuple[int, int]:
    """Count the operations and the bytes of a batch's forward and backward pass."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        learner.backward_only(batch)
    return flops.get_total_flops(), traffic.n_bytes


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
            leaves = tree_leaves((args, kwargs, found))
            self.n_bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return found


def measure_roofline(device: torch.device, dtype: torch.dtype | None) -> tuple[float, float]:
    """Measure the operations per second of a matrix product, and the bytes per second of a copy."""
    side, n_bytes = (1024, 1 << 27)
    if device.type == "cuda":
        side, n_bytes = (8192, 1 << 30)
        torch.set_float32_matmul_precision("high")  # TF32, which cuDNN's convolutions use by default
    left, right = (torch.rand(side, side, device=device).to(dtype or torch.float32) for _ in range(2))
    source = torch.zeros(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    product, copy = _best_seconds(lambda: left @ right), _best_seconds(lambda: target.copy_(source))
    return 2 * side**3 / product, 2 * n_bytes / copy


def _best_seconds(work: Callable[[], object]) -> float:
    """Return the shortest time that some work takes, after a first run that does not count."""

    def work_through() -> None:
        work()
        _synchronize()

    return min(timeit.repeat(work_through, number=1, repeat=_REPEATS + 1)[1:])


def _synchronize() -> None:
    """Wait until the device has finished its work."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


@contextmanager
def _samples(config: Config, store_folder: Path, n: int) -> Iterator[tuple[TrainingSet, str]]:
    """Provide `n` samples of a store or, if there is none, of a temporary one with drawn images."""
    if (store_folder / "manifest.json").exists():
        store = Store.open(store_folder)
        yield build_training_set(config, store, store.ids[:n]), f"{len(store.ids[:n])} samples of {store.folder}"
        return
    if config.codec.classes:
        msg = f"{store_folder}: no store here, and images of classes are not drawn; run kaggle-unet make-targets first"
        raise ConfigError(msg)
    name = config.competition.name
    draw: dict[str, Callable[[Path, int, int], object]] = {
        "tgs": write_tgs_zip,
        "dsb2018": partial(write_dsb_zip, shape=_USUAL_SHAPE),
        "folder": partial(write_folder, shape=_USUAL_SHAPE),
    }
    drawn = config.model_copy(update={"competition": CompetitionSettings(name=name)})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / ("data" if name == "folder" else "train.zip")
        draw[name](data, 0, min(max(n, config.folds.n), _DRAWN))
        make_targets(drawn, str(data), Path(folder) / "store")
        store = Store.open(Path(folder) / "store")
        yield (
            build_training_set(drawn, store, store.ids),
            f"{len(store.ids)} drawn samples, as there is no {store_folder}",
        )
