"""Builders: datasets, loss and network for training from a config and a store, and ensembles from checkpoints."""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain, validate_config, without_weights
from kaggle_unet.data.augment import labels_of
from kaggle_unet.data.batch import PadSpec, padded_shape
from kaggle_unet.data.dataset import TrainingSet, ValidationSet
from kaggle_unet.data.inputs import channel_weights, prepare, refuse_missing_depths, with_channels
from kaggle_unet.errors import ConfigError, DataError, reading
from kaggle_unet.inference.predict import (
    ChannelAdapter,
    CodecAdapter,
    plan_batches,
    predict_planes,
    predict_rows,
    scale_to,
)
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.masks.labels import areas_px, object_diameter_px
from kaggle_unet.models.checkpoint import (
    Checkpoint,
    check_compatible,
    load_checkpoint,
    load_weights,
    refuse_other_shapes,
)
from kaggle_unet.models.create import create_model, input_sizes
from kaggle_unet.models.custom import check_output
from kaggle_unet.models.exported import OnnxNetwork, load_exported
from kaggle_unet.models.settings import EXPORTED, CustomSettings, SmpSettings
from kaggle_unet.steps.make_targets import open_targets, resolve_weights
from kaggle_unet.steps.run import find_checkpoints
from kaggle_unet.store import Store
from kaggle_unet.store.planes import round_planes
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.training.device import (
    AUTOCAST_DTYPES,
    DeviceConfig,
    choose_operations,
    keep_freed_memory,
    select_device,
)
from kaggle_unet.training.distributed import Distributed, rank_shard
from kaggle_unet.training.fold import FoldParts
from kaggle_unet.training.validate import ValidationResult, validate
from kaggle_unet.types import IGNORED_CLASS, HalfPlanes, Inputs, Planes, Sample, Shape, Shard, Sliced

_OF_OTHERS = "can't be used with this config; give the run itself, which has its own, or leave out what is not of it"


def build_training_set(config: Config, store: Store, ids: Sequence[str], added: Sequence[Sample] = ()) -> TrainingSet:
    """Gather the samples that a network learns from."""
    samples = [*_read(config, store, ids), *added]
    nothing = (0, IGNORED_CLASS) if get_codec(config.codec).is_semantic else 0
    shown = ((np.isin(labels_of(sample), nothing, invert=True), sample.ignore) for sample in samples)
    if not any(objects.any(where=True if ignore is None else ~ignore) for objects, ignore in shown):
        msg = f"none of the {len(samples)} training samples has an object in pixels that count, so there is nothing to "
        raise DataError(f"{msg}learn; lower folds.n, change the folds file, or look for the masks and what they ignore")
    return TrainingSet(
        samples,
        inputs=config.input,
        codec=config.codec,
        weights=resolve_weights(config.weights, store.report),
        augmentation=config.augmentation,
        pad_spec=_pad_spec(config),
        seed=config.training.seed,
    )


def build_loss(config: Config) -> SegmentationLoss:
    """Make the loss of a config."""
    codec = get_codec(config.codec)
    return SegmentationLoss(config.loss, codec.planes, codec.activation)


def gather_parts(
    config: Config,
    store: Store,
    training: Sequence[str],
    validation: Sequence[str],
    distributed: Distributed,
    added: Sequence[Sample],
    build: Callable[[], nn.Module],
) -> FoldParts:
    """Gather everything needed to fit a fold; `build` makes the network."""
    loss = build_loss(config)
    own = rank_shard(validation, distributed)
    return FoldParts(
        build_model=build,
        loss=loss,
        training_set=build_training_set(config, store, training, added),
        validate=_validate(config, store, own, loss) if own else None,
        distributed=distributed,
        n_validated=len(own),
    )


def _read(config: Config, store: Store, ids: Sequence[str]) -> list[Sample]:
    samples = [store.read(id_) for id_ in ids]
    where = f"{store.folder}, made of {store.manifest['about'].get('data')}"
    refuse_missing_depths(config.input, ids, {sample.id: sample.numbers for sample in samples}, where)
    return samples


def _validate(config: Config, store: Store, ids: Sequence[str], loss: SegmentationLoss) -> partial[ValidationResult]:
    validation_set = ValidationSet(
        _read(config, store, ids),
        open_targets(config, store).read,
        inputs=config.input,
        pad_spec=_pad_spec(config),
        batch=config.inference.batch,
    )
    return partial(validate, validation_set=validation_set, loss=loss, decoder=config.decoder, metric=config.metric)


def _pad_spec(config: Config) -> PadSpec:
    multiple, margin = input_sizes(config.model)
    return PadSpec(math.lcm(multiple, config.inference.pad_to_multiple), margin)


def build_model(config: Config, *, load_encoder: bool = True, start: Path | None = None) -> nn.Module:
    """Make the network of a config, with the weights of a checkpoint if one is given."""
    n_channels, n_planes = len(config.input.channels), len(get_codec(config.codec).planes)
    is_new, load_encoder = load_encoder, load_encoder and start is None
    model = create_model(config.model, in_channels=n_channels, out_channels=n_planes, load_encoder=load_encoder)
    crop_px = config.augmentation.crop_px or 224  # what most encoders were made for
    if is_new and isinstance(config.model, SmpSettings):  # some take one size only, or only large ones
        side, _ = padded_shape((crop_px, crop_px), _pad_spec(config))
        named = f"model.architecture {config.model.architecture} on {config.model.encoder} with model.options "
        remedy = "change them, or set augmentation.crop_px to a size that the network takes"
        check_output(model, f"{named}{config.model.options}", (n_channels, n_planes, side), remedy)
    if start is not None:
        load_weights(model, start)
    return model


@dataclass(frozen=True)
class Ensemble:
    """Networks whose planes are averaged."""

    models: list[nn.Module]
    config: Config
    pad_spec: PadSpec
    checkpoints: Mapping[Path, Checkpoint]  # each with its sha256, score and config, without its weights
    device_config: DeviceConfig

    @property
    def hashes(self) -> dict[Path, str]:
        """The sha256 of each checkpoint."""
        return {file: checkpoint["sha256"] for file, checkpoint in self.checkpoints.items()}


def load_ensemble(paths: Sequence[Path], config: Config | None = None) -> Ensemble:
    """Load networks that may be averaged, to predict with a config, by default that of the first checkpoint."""
    files = find_checkpoints(paths)
    checkpoints = {file: (load_exported if file.suffix == EXPORTED else load_checkpoint)(file) for file in files}
    if config is None:
        first = next(iter(checkpoints))
        config = validate_config(checkpoints[first]["config"], where=str(first))
        config = config if len(checkpoints) > 1 else without_weights(config)
    weights = config.inference.weights
    if weights is not None and len(weights) != len(checkpoints):
        msg = f"inference.weights has {len(weights)} numbers, but there are {len(checkpoints)} different checkpoints; "
        raise ConfigError(f"{msg}give one for each, in order, or leave it out")
    trained_with = {
        file: {"input": with_channels(checkpoint["config"].get("input") or {}, config.input.channels)}
        for file, checkpoint in checkpoints.items()
    }
    check_compatible(trained_with, "checkpoints can't be averaged; predict and submit them apart, or leave some out")
    check_compatible({Path("the config"): plain(config), **trained_with}, f"the checkpoints {_OF_OTHERS}")
    loaded = [_load_model(file, checkpoint, config) for file, checkpoint in checkpoints.items()]
    about = {
        file: {key: checkpoint[key] for key in ("sha256", "score", "config")}
        for file, checkpoint in checkpoints.items()
    }
    keep_freed_memory()
    precision = "auto" if config.training.precision == "fp16" else config.training.precision  # fp16 scales gradients
    precision = "32" if all(file.suffix == EXPORTED for file in checkpoints) else precision
    device_config = select_device(precision, config.training.channels_last)
    margin = max(int(getattr(model, "margin", 0)) for model, _ in loaded)
    pad_spec = PadSpec(math.lcm(*(multiple for _, multiple in loaded)), margin)
    return Ensemble([model for model, _ in loaded], config, pad_spec, about, device_config)


def _load_model(path: Path, checkpoint: Checkpoint, config: Config) -> tuple[nn.Module, int]:
    """Return a network that predicts the planes of the config's codec, and the multiple that its inputs need."""
    trained = validate_config(checkpoint["config"], where=str(path))
    model: nn.Module
    if isinstance(checkpoint["model"], OnnxNetwork):
        model, multiple = checkpoint["model"], checkpoint["multiple"]
    else:
        build = partial(build_model, trained, load_encoder=False)
        if not isinstance(trained.model, CustomSettings):
            refuse_other_shapes(path, checkpoint["model"], build)
        model, multiple = build(), input_sizes(trained.model)[0]
        with reading(path, "use another checkpoint, or train again"):
            model.load_state_dict(checkpoint["model"])
    head = getattr(config.model, "empty_head", None)
    if head is not None and hasattr(model, "gate_above"):  # not learnt: it is that of the config to predict with
        model.gate_above = head.gate_above
    if trained.input.channels != config.input.channels:
        weights = channel_weights(trained.input.channels, config.input.channels)
        assert weights is not None, "the checkpoints are compatible"
        model = ChannelAdapter(model, weights)
    if trained.codec.classes != config.codec.classes:
        given, wanted = (", ".join(codec.classes or ("objects",)) for codec in (trained.codec, config.codec))
        raise ConfigError(f"{path} was trained for {given}, not for {wanted}; leave it out")
    if trained.codec.name != config.codec.name:
        try:
            model = CodecAdapter(model, trained.codec.name, config.codec.name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}; this checkpoint {_OF_OTHERS}") from error
    return model.eval(), multiple


def open_images(config: Config, data: str, *, skip_bad: bool = False) -> Source:
    """Open images to predict, without their masks."""
    kind = get_competition(config.competition.name)
    source = kind.read(data, config.competition, with_masks=False, skip_bad=skip_bad)
    refuse_missing_depths(config.input, source.ids, source.numbers, data)
    return source


def group_samples(ensemble: Ensemble, sizes: Mapping[str, Shape], settings: InferenceSettings) -> list[tuple[str, ...]]:
    """Group samples into batches, as `predict_samples` does."""
    return plan_batches(sizes, _padded(ensemble, settings), margin=ensemble.pad_spec.margin)


def _padded(ensemble: Ensemble, settings: InferenceSettings) -> InferenceSettings:
    multiple = math.lcm(ensemble.pad_spec.multiple, settings.pad_to_multiple)
    return settings.model_copy(update={"pad_to_multiple": multiple})


def predict_samples(
    ensemble: Ensemble,
    sizes: dict[str, Shape],
    load: Callable[[str], Sample],
    settings: InferenceSettings,
    *,
    done: Container[str] = (),
    shard: Shard | None = None,
    set_aside: dict[str, str] | None = None,
) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
    """Predict planes for samples of any sizes, or for a shard of their batches; set aside what can't be read."""
    config = ensemble.config
    choose_operations(deterministic=config.training.deterministic)  # another model may have chosen otherwise
    settings = _padded(ensemble, settings)
    samples: dict[str, Sample] = {}

    def show(sample: Sample) -> tuple[str, Inputs]:
        samples[sample.id] = sample
        return sample.id, prepare(sample.image, config.input, depth=sample.numbers.get("depth"))

    predict: Any = partial(predict_planes, ensemble.models, **_device_options(ensemble))
    batches = group_samples(ensemble, sizes, settings)
    batches = list(shard.take(batches)) if shard else batches
    wanted = (id_ for batch in batches if not all(id_ in done for id_ in batch) for id_ in batch)
    for id_, planes in predict(map(show, _load(load, wanted, set_aside)), settings=settings):
        sample, rounded, scale = samples[id_], round_planes(planes), 1.0
        if settings.object_px is not None:
            scale = scale_to(settings.object_px, object_diameter_px(areas_px(config.decoder(rounded))[1:]))
        if scale != 1:
            ((_, better),) = predict([show(sample)], settings=_scaled(settings, scale))
            rounded = round_planes(better)
        del samples[id_]
        yield sample, rounded


def _load(load: Callable[[str], Sample], ids: Iterable[str], set_aside: dict[str, str] | None) -> Iterator[Sample]:
    for id_ in ids:
        try:
            yield load(id_)
        except DataError as error:
            if set_aside is None:
                raise
            set_aside[id_] = str(error)


def predict_slide_rows(ensemble: Ensemble, name: str, inputs: Sliced, rows: slice) -> Iterator[tuple[slice, Planes]]:
    """Predict some rows of an image that need not be in memory."""
    choose_operations(deterministic=ensemble.config.training.deterministic)
    settings = _padded(ensemble, ensemble.config.inference)
    return predict_rows(ensemble.models, name, inputs, rows, settings, **_device_options(ensemble))


def _device_options(ensemble: Ensemble) -> dict[str, Any]:
    device_config = ensemble.device_config
    return {
        "activation": get_codec(ensemble.config.codec).activation,
        "multiple": ensemble.pad_spec.multiple,
        "device": device_config.device,
        "autocast_dtype": AUTOCAST_DTYPES[device_config.precision],
        "channels_last": device_config.channels_last,
    }


def _scaled(settings: InferenceSettings, scale: float) -> InferenceSettings:
    """Return settings that scale images, with tiles that stay the same size to the network."""
    changes = {
        "scales": tuple(scale * each for each in settings.scales),
        "tile_px": max(32, math.ceil(settings.tile_px / scale)),
    }
    return settings.model_copy(update=changes)
