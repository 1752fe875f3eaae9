"""`pseudo-label`: what networks are sure of in images without masks becomes a store that a next training can add.

The store is an ordinary one, made sample by sample as `make-targets` makes it; its samples have no fold. How sure the
networks were of each image, kept or not, lies in `confidence.csv` beside them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.inputs import refuse_missing_depths
from kaggle_unet.errors import ConfigError
from kaggle_unet.io.data_issues import is_constant
from kaggle_unet.io.tables import to_csv
from kaggle_unet.steps.build import Ensemble, load_ensemble, predict_samples
from kaggle_unet.steps.make_targets import (
    DataReport,
    Preparation,
    SampleStats,
    describe_set,
    prepare_sample,
    resolve_weights,
)
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import describe_environment
from kaggle_unet.steps.run import describe_run
from kaggle_unet.store import Store, atomic_write, lock
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.types import HalfPlanes, Planes, Sample, Settings

Share = Annotated[float, Field(ge=0, le=1)]
BOUNDS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.99)  # for which it is counted how many images would be kept


class ChoiceSettings(Settings):
    """Which images are kept, and which of their pixels count; the defaults are the 1st place's of TGS, round 1."""

    confidence: Share = 0.9
    """Images are kept whose `image_confidence` is at least this; the 1st place's other half took 0.97."""
    pixel_confidence: Share = 0.8
    """A pixel is sure if its `pixel_confidence` is above this."""
    ignore_unsure: bool = False
    """Whether the other pixels of a kept image count in no loss."""


def pixel_confidence(planes: Planes | HalfPlanes, activation: Literal["sigmoid", "softmax"]) -> NDArray[np.float32]:
    """Measure how sure each pixel is.

    >>> planes = np.array([[[0.9, 0.1, 0.5]], [[0.25, 0.0, 1.0]]], dtype=np.float32)
    >>> pixel_confidence(planes, "sigmoid")
    array([[0.75, 0.9 , 0.5 ]], dtype=float32)
    """
    if activation == "softmax":
        return np.asarray(planes.max(axis=0), np.float32)
    least_sure = np.maximum(planes, 1 - planes.astype(np.float32)).min(axis=0)
    return np.asarray(least_sure, np.float32)


def image_confidence(pixels: NDArray[np.float32], above: float) -> float:
    """Measure how sure a whole image is: the fraction of its pixels that are.

    With `above` = 0.8 and one sigmoid plane this is the fraction of pixels with p < 0.2 or p > 0.8, by which the 1st
    place of the TGS challenge chose its pseudo-labels [1]_. An image without any object is as sure as one that is all
    object; where objects are few and small, nearly all pixels are sure background, and a useful bound is close to 1.

    References
    ----------
    .. [1] https://www.kaggle.com/c/tgs-salt-identification-challenge/discussion/69291

    Examples
    --------
    >>> image_confidence(np.array([[0.9, 0.8, 1.0, 0.6]]), above=0.8)
    0.5
    """
    return float(np.mean(pixels > above))


def pseudo_label(
    config: Config,
    data: str,
    checkpoints: Sequence[Path],
    run: Path,
    folder: Path,
    choice: ChoiceSettings,
    *,
    on_progress: OnProgress = lambda *_: None,
) -> DataReport:
    """Label images by networks and store those they are sure of."""
    ensemble = load_ensemble(checkpoints or [run], config)
    source = get_competition(config.competition.name).read(data, config.competition, with_masks=False)
    refuse_missing_depths(config.input, source.ids, source.numbers, data)
    weights = _resolve(config, run)
    identity = _identity(config, source, ensemble, weights, choice)
    with lock(folder):
        store = Store.create(folder, identity, {"environment": describe_environment(), "data": data})
        if store.manifest["complete"]:
            return cast("DataReport", store.report)
        preparation = Preparation(config, weights, store, source)
        found = _Found()
        for done, (sample, confidence) in enumerate(_label(ensemble, source, choice), 1):
            found.confidences[sample.id] = confidence
            if is_constant(sample.image):
                found.constant.add(sample.id)
            elif confidence >= choice.confidence or store.find(sample.id):  # an interrupted call has kept it
                found.stats.append(_store(preparation, sample))
            on_progress("images", done, len(source.ids))
        return _finish(preparation, found, choice)


@dataclass(frozen=True)
class _Found:
    """What is known of the images so far."""

    confidences: dict[str, float] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    stats: list[SampleStats] = field(default_factory=list)


def _resolve(config: Config, run: Path) -> WeightSettings:
    """Fill in the reference area of the store that the labelling networks were trained from."""
    size = config.weights.size
    if size is None or size.reference_area_px is not None:
        return config.weights
    return resolve_weights(config.weights, Store.open(Path(describe_run(run)["store"])).report)


def _identity(
    config: Config, source: Source, ensemble: Ensemble, weights: WeightSettings, choice: ChoiceSettings
) -> dict[str, Any]:
    settings = plain(config)
    return {
        "competition": settings["competition"],
        "data": source.fingerprint(),
        "pseudo_labels": {
            "checkpoints": [one.sha256 for one in ensemble.sources],
            **{name: settings[name] for name in ("codec", "inference", "decode", "postprocess")},
            "choice": plain(choice),
            "weights": plain(weights),
        },
    }


def _label(ensemble: Ensemble, source: Source, choice: ChoiceSettings) -> Iterator[tuple[Sample, float]]:
    """Yield every image with its predicted labels, and how sure they are."""
    config = ensemble.config
    codec = CODECS[config.codec.name]
    sizes = {id_: source.shape(id_) for id_ in source.ids}
    for sample, planes in predict_samples(ensemble, sizes, source.load, config.inference):
        labels = config.decoder(planes, sample.image)
        pixels = pixel_confidence(planes, codec.activation)
        ignore = pixels <= choice.pixel_confidence if choice.ignore_unsure else None
        yield replace(sample, labels=labels, ignore=ignore), image_confidence(pixels, choice.pixel_confidence)


def _store(preparation: Preparation, sample: Sample) -> SampleStats:
    """Write a sample and its targets, unless an interrupted call did, and measure it."""
    if preparation.store.find(sample.id) is None:
        preparation.store.write(sample)
    stats = prepare_sample(preparation, sample.id)
    assert isinstance(stats, SampleStats), "a sample that the store has can be read"
    return stats


def _finish(preparation: Preparation, found: _Found, choice: ChoiceSettings) -> DataReport:
    """Declare the store complete, and report what was kept."""
    from pandas import DataFrame

    store, config = preparation.store, preparation.config
    values = np.array(list(found.confidences.values()))
    kept = {one.id for one in found.stats}
    if not kept:
        highest = f"{values.max():.4f}" if values.size else "none"
        msg = f"none of the {len(values)} images has a confidence of {choice.confidence:g} (highest: {highest}; "
        msg += f"{len(found.constant)} are constant); lower --confidence, or --pixel-confidence"
        raise ConfigError(msg)
    report: DataReport = {
        **describe_set(found.stats, preparation.source.data_issues if preparation.source else ()),
        "faulty": [],
        "weights": plain(preparation.weights),
        "folds": {"settings": plain(config.folds), "lines": ["no folds: added samples are trained on in every fold"]},
        "confidence": {
            "images": len(values),
            "kept": len(kept),
            "constant": len(found.constant),
            "quantiles": [[mark, float(np.percentile(values, mark))] for mark in (0, 5, 25, 50, 75, 95, 100)],
            "kept_at": [[bound, _count(found, bound)] for bound in sorted({*BOUNDS, choice.confidence})],
        },
    }
    rows = [(id_, f"{value:.6f}", int(id_ in kept)) for id_, value in sorted(found.confidences.items())]
    atomic_write(store.folder / "confidence.csv", to_csv(DataFrame(rows, columns=["id", "confidence", "kept"])))
    assert preparation.targets is not None
    ids, kinds = [one.id for one in found.stats], [one.kind for one in found.stats]
    folds = DataFrame({"id": ids, "fold": None, "group": ids, "stratum": "", "kind": kinds})
    store.finish(preparation.targets, folds, report)
    return report


def _count(found: _Found, bound: float) -> int:
    """Count the images that a bound keeps."""
    return sum(value >= bound for id_, value in found.confidences.items() if id_ not in found.constant)
