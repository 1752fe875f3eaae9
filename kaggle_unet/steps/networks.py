"""Checkpoints become networks that predict planes together."""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from kaggle_unet.config import Config, plain, validate
from kaggle_unet.data.inputs import prepare
from kaggle_unet.errors import ConfigError
from kaggle_unet.inference.batches import plan_batches
from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.inference.translated import Translated
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.models.checkpoint import check_compatible, find_checkpoint, load_checkpoint
from kaggle_unet.models.create import create_model, input_multiple
from kaggle_unet.postprocess.large import decode_any_size
from kaggle_unet.postprocess.size import object_diameter_px, scale_to
from kaggle_unet.steps.planes import round_planes
from kaggle_unet.store import sha256
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecName
from kaggle_unet.training.heap import keep_freed_memory
from kaggle_unet.training.precision import Decided, decide
from kaggle_unet.training.seeding import choose_operations
from kaggle_unet.types import HalfPlanes, Inputs, Planes, Sample


@dataclass(frozen=True)
class CheckpointSource:
    """Where a network came from."""

    path: Path
    sha256: str
    score: float | None


@dataclass(frozen=True)
class Ensemble:
    """Networks whose planes are averaged."""

    models: list[nn.Module]
    config: Config
    multiple: int
    sources: list[CheckpointSource]


def load_ensemble(paths: Sequence[Path], config: Config) -> Ensemble:
    """Load networks that may be averaged."""
    files = list(dict.fromkeys(find_checkpoint(path) for path in paths))
    weights = config.inference.weights
    if weights is not None and len(weights) != len(files):
        msg = (
            f"inference.weights has {len(weights)} numbers, but there are {len(files)} different checkpoints; give one "
        )
        raise ConfigError(f"{msg}for each, in order, or leave it out")
    checkpoints = {file: load_checkpoint(file) for file in files}
    check_compatible({Path("the config"): {"config": plain(config)}, **checkpoints}, keys=["input"])
    models, multiples = [], []
    for name, checkpoint in checkpoints.items():
        trained = validate(checkpoint["config"], where=str(name))
        codec = CODECS[trained.codec.name]
        model = create_model(
            trained.model,
            in_channels=len(trained.input.channels),
            out_channels=len(codec.planes),
            load_encoder=False,
        )
        model.load_state_dict(checkpoint["model"])
        _set_gate(model, config)
        if trained.codec.name != config.codec.name:
            model = _translate(model, trained.codec.name, config.codec.name, name)
        models.append(model.eval())
        multiples.append(input_multiple(trained.model))
    sources = [CheckpointSource(file, sha256(file), checkpoint["score"]) for file, checkpoint in checkpoints.items()]
    return Ensemble(models, config, max(multiples), sources)


def _set_gate(model: nn.Module, config: Config) -> None:
    """Let the config say above which probability a network with an empty head clears an image; it is not learnt."""
    head = getattr(config.model, "empty_head", None)
    if head is not None and hasattr(model, "gate_above"):
        model.gate_above = head.gate_above


def _translate(model: nn.Module, learnt: CodecName, wanted: CodecName, path: Path) -> nn.Module:
    try:
        return Translated(model, learnt, wanted)
    except ConfigError as error:
        msg = f"{path}: {error}; checkpoints can't be averaged, predict and submit them apart, or leave some out"
        raise ConfigError(msg) from error


def decide_for(config: Config) -> Decided:
    """Decide what to predict on and in."""
    precision = "auto" if config.training.precision == "fp16" else config.training.precision
    return decide(precision, config.training.channels_last)


def predict_samples(
    ensemble: Ensemble,
    sizes: dict[str, tuple[int, int]],
    load: Callable[[str], Sample],
    settings: InferenceSettings,
    *,
    done: Container[str] = (),
) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
    """Predict planes for samples of any sizes."""
    config = ensemble.config
    decided = decide_for(config)
    choose_operations(deterministic=config.training.deterministic)
    keep_freed_memory()
    margin = max(int(getattr(model, "margin", 0)) for model in ensemble.models)
    multiple = math.lcm(ensemble.multiple, settings.pad_to_multiple)
    codec = CODECS[config.codec.name]
    samples: dict[str, Sample] = {}

    def show(sample: Sample) -> tuple[str, Inputs]:
        return sample.id, prepare(sample.image, config.input, depth=sample.numbers.get("depth"))

    def inputs() -> Iterator[tuple[str, Inputs]]:
        for batch in plan_batches(sizes, settings, multiple=multiple, margin=margin):
            for id_ in () if all(id_ in done for id_ in batch) else batch:
                samples[id_] = load(id_)
                yield show(samples[id_])

    def predict(
        items: Iterable[tuple[str, Inputs]], how: InferenceSettings
    ) -> Iterator[tuple[str, Planes | HalfPlanes]]:
        for id_, planes in predict_planes(
            ensemble.models,
            items,
            settings=how,
            activation=codec.activation,
            multiple=multiple,
            device=decided.device,
            autocast_dtype=decided.autocast_dtype,
            channels_last=decided.channels_last,
        ):
            yield id_, round_planes(planes)

    for id_, planes in predict(inputs(), settings):
        sample = samples.pop(id_)
        scale = 1.0
        if settings.object_px is not None:
            found = decode_any_size(codec, planes, config.decode, config.postprocess)
            scale = scale_to(settings.object_px, object_diameter_px(areas_px(found)[1:]))
        if scale == 1:
            yield sample, planes
            continue
        yield from ((sample, better) for _, better in predict([show(sample)], _scaled(settings, scale)))


def _scaled(settings: InferenceSettings, scale: float) -> InferenceSettings:
    """Show images larger or smaller; tiles are cut so that the network is shown no larger ones, and as much around."""
    changes = {
        "scales": tuple(scale * each for each in settings.scales),
        "tile_px": max(32, int(settings.tile_px / max(1.0, scale))),
        "overlap_px": math.ceil(settings.overlap_px / min(1.0, scale)),
    }
    return settings.model_copy(update=changes)
