"""`pseudo-label`: confident predictions for images without masks become a store that a later training can add.

The store is an ordinary one, made sample by sample as by `make-targets`; its samples have no fold. The networks'
confidence in each image, kept or not, is in `confidence.csv` beside them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.competition import Source, read_shapes
from kaggle_unet.config import Config, plain
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.data_issues import is_constant
from kaggle_unet.io.tables import to_csv
from kaggle_unet.steps.build import Ensemble, load_ensemble, open_images, predict_samples
from kaggle_unet.steps.data_report import DataReport, SampleStats, describe_set
from kaggle_unet.steps.make_targets import Preparation, prepare_sample, resolve_weights
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import describe_environment
from kaggle_unet.steps.run import describe_run
from kaggle_unet.steps.second_level import ChosenDecoder, choose_decoder
from kaggle_unet.store import Store, atomic_write, lock
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.types import DataFrame, HalfPlanes, Planes, Sample

BOUNDS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.99)  # for each, the images that would be kept are counted


class Choice(NamedTuple):
    """Which images are kept, and which of their pixels count; the defaults are those of TGS's 1st place, round 1."""

    confidence: float = 0.9  # of an image, at least; the team's other member took 0.97
    pixel_confidence: float = 0.8  # above it a pixel is sure
    ignore_unsure: bool = False  # the other pixels of a kept image don't count in the loss


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
    """Measure how sure an image is: the fraction of its pixels that are, as the 1st place of TGS did (above 0.8).

    See https://www.kaggle.com/c/tgs-salt-identification-challenge/discussion/69291. An image without any object is as
    sure as one that is all object; where objects are few and small, a useful bound is close to 1.
    """
    return float(np.mean(pixels > above))


def pseudo_label(  # noqa: PLR0913  the options of a verb
    config: Config,
    data: str,
    checkpoints: Sequence[Path],
    run: Path,
    folder: Path,
    choice: Choice,
    *,
    decode: str | None = None,
    second_level: str | None = None,
    overrides: Sequence[str] = (),
    on_warning: Callable[[str], None] = lambda _: None,
    on_progress: OnProgress = lambda *_: None,
) -> DataReport:
    """Label images with networks, decoding as `submit` does, and store the images that they are sure of."""
    from pandas import DataFrame

    ensemble = load_ensemble(checkpoints or [run], config)
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, second_level=second_level, overrides=overrides)
    for remark in chosen.remarks:
        on_warning(remark)
    source = open_images(config, data)
    weights = config.weights
    if weights.size is not None and weights.size.reference_area_px is None:  # take that of the networks' own store
        weights = resolve_weights(weights, Store.open(Path(describe_run(run)["store"])).report)
    identity = _identity(chosen, source, ensemble, weights, choice)
    with lock(folder):
        names = ", ".join("/".join(file.parts[-3:]) for file in ensemble.checkpoints)
        about = {"environment": describe_environment(), "data": data, "checkpoints": names, **chosen.names}
        store = Store.create(folder, identity, about)
        if store.manifest["complete"]:
            return cast("DataReport", store.report)
        preparation = Preparation(config, weights, store, source)
        kept: list[SampleStats] = []
        rows = []
        for sample, confidence in _label(ensemble, chosen, source, choice):
            stored = None
            with suppress(DataError):
                stored = store.read(sample.id)  # kept by an interrupted call
            if not (is_empty := is_constant(sample.image)) and (confidence >= choice.confidence or stored):
                if stored is None:
                    store.write(sample)
                kept.append(cast("SampleStats", prepare_sample(preparation, sample.id)))
            rows.append((sample.id, confidence, is_empty))
            on_progress("images", len(rows), len(source.ids))
        found = DataFrame(rows, columns=["id", "confidence", "constant"]).sort_values("id")
        return _finish(preparation, kept, found, choice, chosen.names)


def _identity(
    chosen: ChosenDecoder, source: Source, ensemble: Ensemble, weights: WeightSettings, choice: Choice
) -> dict[str, Any]:
    return {
        "competition": plain(chosen.config.competition),
        "data": source.fingerprint(),
        "pseudo_labels": {
            "checkpoints": list(ensemble.hashes.values()),
            **plain(chosen.config, "codec", "inference", "decode", "postprocess"),
            **({"second_level": chosen.second_level_hash} if chosen.second_level_hash else {}),
            "choice": choice._asdict(),
            "weights": plain(weights),
        },
    }


def _label(ensemble: Ensemble, chosen: ChosenDecoder, source: Source, choice: Choice) -> Iterator[tuple[Sample, float]]:
    """Yield every image with its predicted labels, and how sure they are."""
    codec = get_codec(chosen.config.codec)
    sizes = read_shapes(source.ids, source.shape)
    for sample, planes in predict_samples(ensemble, sizes, source.load, chosen.config.inference):
        labels = chosen.decode(planes, sample.image)
        pixels = pixel_confidence(planes, codec.activation)
        ignore = pixels <= choice.pixel_confidence if choice.ignore_unsure else None
        yield replace(sample, labels=labels, ignore=ignore), image_confidence(pixels, choice.pixel_confidence)


def _finish(
    preparation: Preparation,
    kept: Sequence[SampleStats],
    found: DataFrame,
    choice: Choice,
    names: Mapping[str, str | None],
) -> DataReport:
    """Mark the store as complete, and report what was kept."""
    from pandas import DataFrame

    store, config, targets = preparation.store, preparation.config, preparation.targets
    assert preparation.source is not None
    assert targets is not None
    if not kept:
        highest = f"{found['confidence'].max():.4f}" if len(found) else "none"
        msg = f"none of the {len(found)} images has a confidence of {choice.confidence:g} (highest: {highest}; "
        msg += f"{found['constant'].sum()} are constant); lower --confidence, or --pixel-confidence"
        raise ConfigError(msg)
    ids, kinds = [sample.id for sample in kept], [sample.kind for sample in kept]
    able = found["confidence"][~found["constant"]]
    report: DataReport = {
        **describe_set(kept, preparation.source.data_issues, config.codec.classes),
        "faulty": [],
        "weights": plain(preparation.weights),
        "folds": {"settings": plain(config.folds), "lines": ["no folds: added samples are trained on in every fold"]},
        "confidence": {
            **names,
            "images": len(found),
            "kept": len(kept),
            "constant": int(found["constant"].sum()),
            "quantiles": [[p, float(np.percentile(found["confidence"], p))] for p in (0, 5, 25, 50, 75, 95, 100)],
            "kept_at": [[bound, int((able >= bound).sum())] for bound in sorted({*BOUNDS, choice.confidence})],
        },
    }
    table = {"id": found["id"], "confidence": found["confidence"].map("{:.6f}".format), "kept": found["id"].isin(ids)}
    atomic_write(store.folder / "confidence.csv", to_csv(DataFrame(table).astype({"kept": int})))
    folds = DataFrame({"id": ids, "fold": None, "group": ids, "stratum": "", "kind": kinds})
    store.finish(targets, folds, report)
    return report
