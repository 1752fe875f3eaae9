"""Pictures of what a store holds, and of what networks make of an image they have never seen."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config
from kaggle_unet.postprocess.rules import find_labels
from kaggle_unet.report.draw import colour_labels, compose, draw_outlines, heatmap, resize, stretch
from kaggle_unet.report.preview import preview
from kaggle_unet.steps.make_targets import resolved_weights
from kaggle_unet.steps.networks import load_ensemble, predict_samples
from kaggle_unet.store import Store, atomic_write
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.weights import distance_weight, size_weight
from kaggle_unet.types import Image, Labels, Weights

FIGURE_SIDE_PX = 256


def write_previews(config: Config, folder: Path, n: int) -> list[Path]:
    """Draw the first samples of a store with their planes and weight maps."""
    store = Store.open(folder)
    paths = []
    for id_ in store.ids[:n]:
        sample = store.read(id_)
        planes, weights = store.read_targets(id_)
        assert sample.labels is not None
        maps = {"weights": weights, **_single_maps(config, store, sample.labels)}
        path = folder / "preview" / f"{id_}.png"
        atomic_write(path, to_png(preview(sample, planes, CODECS[config.codec.name].planes, maps)))
        paths.append(path)
    return paths


def write_figure(
    config: Config, checkpoints: Sequence[Path], data: str, truth: Mapping[str, Labels], path: Path
) -> Path:
    """Draw one image with the planes that are wanted, those predicted, and the instances found."""
    id_ = max(sorted(truth), key=lambda id_: (int(truth[id_].max()), int((truth[id_] > 0).sum())))
    source = get_competition(config.competition.name).read(data, config.competition, with_masks=False)
    ensemble = load_ensemble(checkpoints, config)
    ((sample, planes),) = predict_samples(ensemble, {id_: source.shape(id_)}, source.load, config.inference)
    codec = CODECS[config.codec.name]
    found = find_labels(codec, planes, sample.image, config.decode, config.postprocess)
    wanted = codec.encode(truth[id_], config.codec.border)
    picture = _enlarge(stretch(sample.image))
    panels = [("image, true outlines", draw_outlines(picture, _enlarge(truth[id_])))]
    for kind, shown in (("target", wanted), ("predicted", planes)):
        panels += [
            (f"{kind} {name}", heatmap(_enlarge(plane), name="gray"))
            for name, plane in zip(codec.planes, shown, strict=True)
        ]
    panels.append((f"found: {found.max(initial=0)} of {truth[id_].max(initial=0)}", colour_labels(_enlarge(found))))
    atomic_write(path, to_png(compose(panels)))
    return path


def to_png(picture: Image) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _single_maps(config: Config, store: Store, labels: Labels) -> dict[str, Weights]:
    settings = resolved_weights(config.weights, store)
    maps: dict[str, Weights] = {}
    if settings.distance is not None:
        maps["distance"] = distance_weight(labels, settings.distance)
    if settings.size is not None:
        maps["size"] = size_weight(labels, settings.size)
    return maps


def _enlarge(values: np.ndarray) -> np.ndarray:
    return resize(values, FIGURE_SIDE_PX, smooth=False)
