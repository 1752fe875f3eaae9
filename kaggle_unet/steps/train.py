"""`train`: fit one fold, then predict and score the samples it has not seen.

Added stores, from `pseudo-label` or from `make-targets` for other data, are trained on in every fold and never
validated on; their order on the command line does not matter.
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from kaggle_unet.config import Config, load_config, plain
from kaggle_unet.data.batch import Batch
from kaggle_unet.data.inputs import refuse_missing_depths
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.errors import ConfigError, DataError, shorten_list
from kaggle_unet.io.images import encode_png
from kaggle_unet.report.draw import draw_batch
from kaggle_unet.report.plots import plot_curves
from kaggle_unet.steps.bench_train import images_per_s
from kaggle_unet.steps.build import build_model, build_training_set, gather_parts
from kaggle_unet.steps.make_targets import changed_keys
from kaggle_unet.steps.predict import Estimate, count_views, predict_stored
from kaggle_unet.steps.run import (
    begin_run,
    checkpoint_run,
    describe_run,
    fold_folder,
    folds_for,
    has_checkpoints,
    refuse_other_run,
    retrain_hint,
    run_folds,
    validation_ids,
)
from kaggle_unet.steps.score import out_of_fold, summarize_scores
from kaggle_unet.store import Store, atomic_write, lock, read_record, sha256, write_record
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.training.device import seed_everything
from kaggle_unet.training.distributed import Distributed, init_distributed
from kaggle_unet.training.failures import TrainingFailure
from kaggle_unet.training.fit import FitResult, fit_fold
from kaggle_unet.training.fold import OnEvent, PartDone, open_loader
from kaggle_unet.training.schedules import cycle_ends
from kaggle_unet.training.settings import BEST, LAST
from kaggle_unet.training.step import Learner
from kaggle_unet.types import FULL, DataFrame, Image, Result, Sample

_FEWEST_STEPS = 300


def _open_added(config: Config, store: Store, folders: Sequence[Path]) -> list[Store]:
    """Open added stores, in an order that does not depend on the command line, and refuse those that do not fit."""
    added = [Store.open(folder) for folder in folders]
    for other in added:
        if changed := changed_keys(config, other):
            msg = f"--add-store {other.folder} was made with another config ({', '.join(changed)} differ); make it "
            raise ConfigError(f"{msg}with this one and another --store, or leave it out")
    counts = Counter(id_ for other in (store, *added) for id_ in other.ids)
    if clashes := sorted(id_ for id_, count in counts.items() if count > 1):
        where = ", ".join(str(other.folder) for other in (store, *added))
        msg = f"--add-store: {len(clashes)} ids are in more than one of {where}; rename the added images, or leave "
        raise DataError(f"{msg}them out, and make their store again", clashes)
    return sorted(added, key=lambda other: str(other.manifest["identity_sha256"]))


def _read_added(
    config: Config, added: Sequence[Store], store: Store, training: Sequence[str], on_warning: Callable[[str], None]
) -> list[Sample]:
    """Read the samples that other stores add to a fold; leave out, with a warning, those whose images are held out."""
    if not added:
        return []
    held_out = {_hash_image(store.read(id_).image) for id_ in sorted(set(store.ids) - set(training))}
    samples = [other.read(id_) for other in added for id_ in other.ids]
    left_out = [sample.id for sample in samples if _hash_image(sample.image) in held_out]
    numbers = {sample.id: sample.numbers for sample in samples if sample.id not in left_out}
    folders = ", ".join(str(other.folder) for other in added)
    refuse_missing_depths(config.input, numbers, numbers, f"--add-store {folders}")
    if left_out:
        msg = f"{len(left_out)} added samples are left out, as their images are among those held out: "
        on_warning(msg + ", ".join(shorten_list(left_out)))
    return [sample for sample in samples if sample.id in numbers]


def _hash_image(image: Image) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


class FoldResult(Result):
    """How a fold went; ``result.json`` has the same keys."""

    fold: int
    folder: str
    best_epoch: int
    best_score: float
    other_checkpoints: dict[str, float | None]
    epochs: int
    stopped_by: str
    seconds: float
    device: dict[str, Any]
    training_samples: int
    added_samples: int
    samples: int
    views: int
    oof_score: float | None
    oof_interval: Sequence[float] | None


def train_fold(  # noqa: PLR0913  the options of a verb
    config: Config,
    store_folder: Path,
    run: Path,
    fold: int,
    *,
    add: Sequence[Path] = (),
    resume: bool = False,
    track: bool = False,
    on_event: OnEvent = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    distributed: Distributed | None = None,
) -> FoldResult:
    """Fit a fold and score it out-of-fold."""
    _refuse_idle(config)
    distributed = distributed or init_distributed(config.training)
    store = Store.open(store_folder)
    added = _open_added(config, store, add)
    rows = distributed.on_rank_zero(lambda: _begin(run, config, store, added, distributed, resume=resume))
    if config.competition.folds and not rows[["id", "fold"]].equals(store.read_folds()[["id", "fold"]]):
        on_warning(f"{run} keeps its folds, {store.folder} has others now; to take these, {retrain_hint(run)}")
    training, validation = _divide(rows, fold)
    store.keep(validation)  # for every validation, and for the out-of-fold planes and scores at the end
    more = _read_added(config, added, store, training, on_warning)
    folder = fold_folder(run, fold)
    with ExitStack() as held:
        distributed.on_rank_zero(lambda: held.enter_context(lock(folder)) and None)  # a lock can't be sent to all ranks
        is_resuming = distributed.on_rank_zero(lambda: resume and _has_begun(folder))
        start = None if is_resuming else _find_start(config.training.start_from, fold, validation)
        distributed.on_rank_zero(lambda: _follow_start(folder, config, fold, is_resuming))
        build = partial(build_model, config, load_encoder=not is_resuming, start=start)
        parts = gather_parts(config, store, training, validation, distributed, more, build)
        on_warning(_describe_few_steps(config, len(parts.training_set), distributed.size))
        try:
            fitted = fit_fold(
                parts,
                config.training,
                folder=folder,
                config=plain(config),
                resume=is_resuming,
                track=track,
                on_event=on_event,
            )
        except TrainingFailure as fault:
            if distributed.is_rank_zero and fault.batch is not None:
                _write_batch(config, fault.batch, folder / "failed_batch.png")
            raise
        n_samples = {"training_samples": len(training) + len(more), "added_samples": len(more)}
        return distributed.on_rank_zero(lambda: _finish(config, store, run, fold, fitted, n_samples, on_event))


def _refuse_idle(config: Config) -> None:
    """Refuse settings that would do nothing, but only when training begins: existing runs with them stay usable."""
    schedule, codec, epochs = config.training.schedule, get_codec(config.codec), config.training.epochs
    falls_to = next(iter(cycle_ends(schedule, epochs)), epochs if schedule.name == "cosine" else math.inf)
    has_head, sides = getattr(config.model, "empty_head", None) is not None, config.loss.deep_supervision_images
    for key, is_idle, why in (
        (
            "training.schedule.warmup_epochs",
            schedule.warmup_epochs >= falls_to,
            f"the rate falls until epoch {falls_to:g}, and a warm-up must end before that; shorten it",
        ),
        (
            "loss.lovasz_hinge",
            codec.activation == "softmax" and config.loss.lovasz_hinge != "elu1",
            "the Lovász loss of a softmax has no hinge; leave it out",
        ),
        ("model.empty_head", codec.is_semantic and has_head, "no image is empty of classes; leave it out"),
        ("loss.deep_supervision_images", codec.is_semantic and sides != "all", "no image is empty of classes"),
    ):
        if is_idle:
            raise ConfigError(f"{key} would do nothing: {why}")


def estimate_training(
    config: Config, store_folder: Path, run: Path, folds: Sequence[int], *, add: Sequence[Path] = ()
) -> Estimate:
    """Measure some steps and a validation of some images, and extrapolate to all those of the folds.

    Planes are assumed to be as large as before compression, and a prediction of several views to be as slow as that
    many validations.
    """
    _refuse_idle(config)
    settings, store = config.training, Store.open(store_folder)
    seed_everything(settings.seed, deterministic=settings.deterministic)
    distributed, added = init_distributed(settings, devices=1, nodes=1), _open_added(config, store, add)
    if has_checkpoints(run):
        refuse_other_run(run, config, store, added)
    training, validation = _divide(folds_for(store, config), folds[0])
    some = validation[:: math.ceil(len(validation) / 8)]
    more = _read_added(config, added, store, training, lambda _: None)
    first = _find_start(settings.start_from, folds[0], validation)
    build = partial(build_model, config, start=first)
    parts = gather_parts(config, store, training, some, distributed, more, build)
    learner = Learner(parts.build_model(), parts.loss, settings, distributed)
    loader = open_loader(parts.training_set, settings, distributed)
    speeds = [images_per_s(learner, islice(loader.epoch(1), n), 1) for n in (2, 12)]  # the first two warm up
    for _ in range(2):
        start = time.perf_counter()
        assert parts.validate is not None
        parts.validate(lambda inputs: learner.predict(inputs, learner.eval_model.eval()))
        valid_s = (time.perf_counter() - start) / len(some) * len(validation)
    n_validations, views = math.ceil(settings.epochs / settings.validate_every), count_views(config.inference)
    minutes = (settings.epochs * len(parts.training_set) / speeds[-1] + n_validations * valid_s) / 60
    minutes = min(minutes, settings.minutes or math.inf) + views * valid_s / 60
    planes = sum(math.prod(store.read(id_).image.shape[:2]) for id_ in validation) * len(get_codec(config.codec).planes)
    return Estimate(
        work=f"folds: {len(folds)}, each at most {settings.epochs} epochs of {len(loader)} steps, {n_validations} "
        f"validations of {len(validation)} images, and their planes in {views} views",
        minutes=minutes * len(folds),
        disk_bytes=(max_checkpoint_bytes(config) + 2 * planes) * len(folds),
        measured=f"{min(12, len(loader))} steps on {distributed.device_config.device} ({speeds[-1]:.3g} images/s) and "
        f"a validation of {len(some)} images",
    )


def max_checkpoint_bytes(config: Config) -> int:
    """Bound the bytes of a fold's checkpoints: networks, and the state to resume from, two moments and two averages."""
    settings, state = config.training, build_model(config, load_encoder=False).state_dict()
    n_bytes = sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
    return (2 + len(cycle_ends(settings.schedule, settings.epochs)) + (settings.swa is not None) + 4) * n_bytes


def _describe_few_steps(config: Config, n_crops: int, n_devices: int) -> str:
    """Return a warning if training is too short for any network, as passes over few images are."""
    n_steps = config.training.epochs * math.ceil(n_crops / (config.training.batch * n_devices))
    if n_steps >= _FEWEST_STEPS:
        return ""
    return (
        f"{n_steps} steps in all; a network learns little in under {_FEWEST_STEPS}: set augmentation.crops_per_epoch, "
        "which does not shrink with the number of images, or raise training.epochs"
    )


def show_batch(config: Config, store_folder: Path, fold: int, path: Path, *, add: Sequence[Path] = ()) -> Path:
    """Draw the first batch that training would see."""
    if path.suffix != ".png":
        raise ConfigError(f"--show-batch {path}: expected the path of a file that ends in .png")
    store = Store.open(store_folder)
    training, _ = _divide(folds_for(store, config), fold)
    more = _read_added(config, _open_added(config, store, add), store, training, lambda _: None)
    training_set = build_training_set(config, store, training, more)
    loader = BatchLoader(training_set, batch=config.training.batch)
    return _write_batch(config, next(loader.epoch(1)), path)


def _write_batch(config: Config, batch: Batch, path: Path) -> Path:
    picture = draw_batch(batch, get_codec(config.codec).planes, config.input.channels)
    atomic_write(path, encode_png(picture))
    return path


def _find_start(given: str | None, fold: int, validation: Sequence[str]) -> Path | None:
    """Find the checkpoint that a fold starts from, and refuse one that was trained on samples to validate on."""
    if given is None:
        return None
    file = _place_start(given, fold)
    if not file.is_file():
        raise ConfigError(f"training.start_from: {file}: no such file; train it, or give another run or checkpoint")
    if fold != FULL and (known := sorted(_list_learnt(file).intersection(validation))):
        msg = f"training.start_from: {file} has been trained on {len(known)} of the {len(validation)} samples that "
        msg += (
            f"fold {fold} validates on ({', '.join(shorten_list(known))}), itself or where it began, and would score "
        )
        msg += "too well; give a run of the same folds. If those were other images of the same names, copy the file "
        msg += "out of its run"
        raise ConfigError(msg)
    return file


def _follow_start(folder: Path, config: Config, fold: int, is_resuming: bool) -> None:
    """Record which weights a fold starts from, and refuse to resume it if they have changed since."""
    start, weights = config.training.start_from, getattr(config.model, "encoder_weights", None)
    file = _place_start(start, fold) if start else Path(weights or "")
    if not file.is_file():
        return
    path, digest = folder / "start.json", sha256(file)
    if not is_resuming and not (folder / LAST).exists():  # else `fit_fold` refuses the fold
        write_record(path, {"checkpoint": str(file), "checkpoint_sha256": digest})
    elif is_resuming and path.exists() and read_record(path, "begin another --run")["checkpoint_sha256"] != digest:
        raise ConfigError(f"--resume: {file} has changed since {folder} began with its weights; {retrain_hint(folder)}")


def _place_start(given: str, fold: int) -> Path:
    """Return the file that `training.start_from` means for a fold: a checkpoint, or a run's best for the same fold."""
    path = Path(given)
    path = fold_folder(path, fold) if (path / "run.json").is_file() else path
    return path / BEST if path.is_dir() or not path.suffix else path


def _list_learnt(checkpoint: Path) -> set[str]:
    """Return the ids that a checkpoint was trained on: in its fold, in added stores, or by those it started from.

    Runs and stores that are no longer in their places are skipped.
    """
    ids, files = set[str](), [checkpoint.absolute()]
    for file in files:
        run, name = checkpoint_run(file), file.parent.name
        if not (run / "run.json").is_file():
            continue
        folds = run_folds(run).dropna(subset="fold")
        ids.update(folds["id"][[fold_folder(run, fold).name != name for fold in folds["fold"]]])
        for added in describe_run(run).get("added_stores", []):
            with suppress(DataError):
                ids.update(Store.open(added["store"]).ids)
        if start := load_config(run / "config.yaml").training.start_from:
            number = name.removeprefix("fold")
            earlier = _place_start(start, int(number) if number.isdigit() else FULL).absolute()
            files.extend([earlier] if earlier not in files else [])
    return ids


def _begin(
    run: Path, config: Config, store: Store, added: Sequence[Store], distributed: Distributed, *, resume: bool
) -> DataFrame:
    if resume and not (run / "run.json").exists():
        msg = f"--resume: there is no run in {run}, so there is nothing to resume; leave out --resume to start anew"
        raise ConfigError(msg)
    return begin_run(run, config, store, added, {**distributed.device_config.record, "processes": distributed.size})


def _has_begun(folder: Path) -> bool:
    """Return whether a fold has finished an epoch; remove what is left of a first epoch that was cut short."""
    if (folder / LAST).exists():
        return True
    for leftover in (*folder.glob(f"{BEST}*"), *folder.glob("snapshot*.safetensors*")):
        leftover.unlink()
    return False


def _divide(folds: DataFrame, fold: int) -> tuple[list[str], list[str]]:
    """Return the ids to train on and to validate on; if all are trained on, those of the first fold are in both."""
    if fold == FULL:
        return sorted(folds["id"][folds["fold"].notna()]), sorted(folds["id"][folds["fold"] == folds["fold"].min()])
    inside, outside = sorted(folds["id"][folds["fold"] == fold]), sorted(folds["id"][folds["fold"] != fold])
    if not inside or not outside:
        msg = f"fold {fold} has {len(inside)} samples to validate on and {len(outside)} to train on; lower folds.n, "
        msg += "or change the folds file"
        raise ConfigError(msg)
    return outside, inside


def _finish(
    config: Config, store: Store, run: Path, fold: int, fitted: FitResult, n_samples: dict[str, int], on_event: OnEvent
) -> FoldResult:
    """Predict and score the samples that the fold has not seen, if any, and record how it went."""
    folder = fold_folder(run, fold)
    atomic_write(folder / "curves.png", plot_curves(fitted.history))
    scored = None
    if fold != FULL:
        predict_stored(
            config,
            folder / BEST,
            store,
            validation_ids(run, fold),
            on_progress=lambda _, done, total: on_event(PartDone(done, total, after="out-of-fold")),
            dry_run=False,
        )
        found = [scored for scored, *_ in out_of_fold(run, config, store, [fold])]
        scored = summarize_scores(found, config.decoder.codec.pixel_classes)
    result = FoldResult(
        fold=fold,
        folder=str(folder),
        best_epoch=fitted.best_epoch,
        best_score=fitted.best_score,
        other_checkpoints=fitted.others,
        epochs=fitted.epochs,
        stopped_by=fitted.stopped_by,
        seconds=sum(row["seconds"] or 0.0 for row in fitted.history),
        device={**fitted.device_config.record, "batches": fitted.batches},
        **n_samples,
        samples=scored.images if scored else 0,
        views=count_views(config.inference),
        oof_score=scored.score if scored else None,
        oof_interval=scored.interval if scored else None,
    )
    write_record(folder / "result.json", result.to_json())
    return result
