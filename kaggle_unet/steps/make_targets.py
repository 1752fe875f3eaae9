"""`make-targets`: a zip or folder becomes a store of samples, targets, weights and folds.

Each sample is read, checked, encoded, written and scored by one process, all cores at once; what is already in the
store is not done again. A size weight without reference area needs the median area of the whole set first: the targets
are then made from the stored samples, so that no file is decoded twice.

What is known of each sample once its pixels are gone, and what that says about a set.

A set's description, its folds and its seams need some kilobytes of each sample; they are taken while its arrays are at
hand, so that no sample is read twice.

What `make-targets` does with one sample, in whichever process.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.folder import read_folds
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.folds import assign_folds, coverage_class, describe_folds
from kaggle_unet.data.mosaic import Edges, cut_edges, join_mosaics
from kaggle_unet.data.settings import FoldSettings
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.postprocess.clean import labels_from_planes
from kaggle_unet.postprocess.object_size import object_diameter_px
from kaggle_unet.steps.parallel import OnProgress, map_samples, with_progress
from kaggle_unet.steps.provenance import describe_environment
from kaggle_unet.store import Store, lock
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.targets.weights import weight_map
from kaggle_unet.types import DataIssue, Labels, Planes, Sample, Weights


@dataclass(frozen=True)
class SampleStats:
    """A sample without its arrays."""

    id: str
    kind: str
    shape: tuple[int, int]
    areas_px: NDArray[np.int64]
    coverage: str
    edges: Edges
    data_issues: tuple[DataIssue, ...]
    round_trip_score: float


def measure_sample(sample: Sample, *, round_trip_score: float = float("nan")) -> SampleStats:
    """Take what will be needed of a sample."""
    assert sample.labels is not None
    return SampleStats(
        id=sample.id,
        kind=sample.kind,
        shape=sample.labels.shape,
        areas_px=areas_px(sample.labels)[1:],
        coverage=coverage_class(sample.labels),
        edges=cut_edges(sample.image),
        data_issues=sample.data_issues,
        round_trip_score=round_trip_score,
    )


def describe_set(stats: Sequence[SampleStats], data_issues: Iterable[DataIssue]) -> dict[str, Any]:
    """Describe a set."""
    counts = [len(one.areas_px) for one in stats]
    return {
        "samples": len(stats),
        "instances": int(sum(counts)),
        "instances_per_sample": _quantiles(counts),
        "area_px": _quantiles(np.concatenate([*(one.areas_px for one in stats), np.zeros(0)])),
        "object_px": _quantiles([px for one in stats if (px := object_diameter_px(one.areas_px))]),
        "sizes": dict(Counter(f"{one.shape[1]}×{one.shape[0]}" for one in stats).most_common()),
        "kinds": dict(Counter(one.kind for one in stats).most_common()),
        "without_instances": counts.count(0),
        "oddities": _summarise([*data_issues, *(issue for one in stats for issue in one.data_issues)]),
        "ceiling": float(np.mean([one.round_trip_score for one in stats])) if stats else 1.0,
    }


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    marks = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
    return {name: float(np.percentile(values, mark)) for name, mark in marks.items()}


def _summarise(data_issues: Iterable[DataIssue]) -> list[dict[str, Any]]:
    table: dict[tuple[str, str], list[DataIssue]] = {}
    for issue in data_issues:
        table.setdefault((issue.what, issue.done), []).append(issue)
    return [
        {
            "what": what,
            "samples": len(found),
            "count": sum(issue.count for issue in found),
            "done": done,
            "example": found[0].sample,
        }
        for (what, done), found in sorted(table.items(), key=lambda item: -len(item[1]))
    ]


@dataclass(frozen=True)
class Preparation:
    """Where samples come from, what becomes of them and where they go; picklable."""

    source: Source
    store: Store
    config: Config
    weights: WeightSettings

    @property
    def has_weights(self) -> bool:
        """Whether weights can be made; if not, targets wait for the set's median area and `add_targets`."""
        return self.weights.size is None or self.weights.size.reference_area_px is not None


def prepare_sample(preparation: Preparation, sample_id: str) -> SampleStats | str:
    """Read, encode, write and score one sample; what the store has already is not done again."""
    store = preparation.store
    if store.has(sample_id):
        try:
            return _score(preparation.config, store.read(sample_id), store.read_targets(sample_id)[0])
        except DataError:  # half a file, left by a power cut
            store.remove(sample_id)
    try:
        sample = preparation.source.load(sample_id)
    except DataError as error:
        return str(error)
    if sample.labels is None:
        return f"sample {sample_id!r} has no masks; training needs them"
    store.write_sample(sample)
    planes = _encode(preparation.config, sample.labels)
    if preparation.has_weights:
        store.write_targets(sample.id, planes, _weigh(preparation, sample, planes))
    return _score(preparation.config, sample, planes)


def add_targets(preparation: Preparation, sample_id: str) -> None:
    """Encode, weigh and write the targets of a sample that the store has."""
    sample = preparation.store.read(sample_id)
    planes = _encode(preparation.config, _labels(sample))
    preparation.store.write_targets(sample_id, planes, _weigh(preparation, sample, planes))


def _encode(config: Config, labels: Labels) -> Planes:
    return CODECS[config.codec.name].encode(labels, config.codec.border)


def _weigh(preparation: Preparation, sample: Sample, planes: Planes) -> Weights:
    codec = preparation.config.codec.name
    return weight_map(_labels(sample), preparation.weights, codec=codec, planes=planes, ignore=sample.ignore)


def _score(config: Config, sample: Sample, planes: Planes) -> SampleStats:
    """Score the targets, decoded, against the labels they were made from: what a perfect network would get."""
    labels = labels_from_planes(CODECS[config.codec.name], planes, config.decode, config.postprocess)
    score = get_competition(config.competition.name).metric(_labels(sample), labels)
    return measure_sample(sample, round_trip_score=score.mean)


def _labels(sample: Sample) -> Labels:
    assert sample.labels is not None
    return sample.labels


# What a store's targets depend on, beside the data.
STORE_SECTIONS = ("competition", "codec", "weights")


def make_targets(
    config: Config,
    data: str,
    folder: Path,
    *,
    fold_file: Path | None = None,
    skip_bad: bool = False,
    workers: int = 1,
    on_progress: OnProgress = lambda *_: None,
) -> dict[str, Any]:
    """Prepare a store for training."""
    source = get_competition(config.competition.name).read(data, config.competition, with_masks=True)
    with lock(folder):
        store = Store.create(folder, _identity(config, source), {"environment": describe_environment(), "data": data})
        preparation = Preparation(source, store, config, config.weights)
        results = map_samples(partial(prepare_sample, preparation), source.ids, workers)
        stats, bad = _part(with_progress(results, "samples", len(source.ids), on_progress))
        if bad and not (skip_bad and stats):
            msg = f"{data}: {len(bad)} of {len(source.ids)} samples are faulty; mend them, or pass --skip-bad"
            raise DataError(msg, bad)
        if not preparation.has_weights:
            preparation = replace(preparation, weights=_resolve(config.weights, stats))
            todo = [one.id for one in stats if not store.has(one.id)]
            results = map_samples(partial(add_targets, preparation), todo, workers)
            list(with_progress(results, "targets", len(todo), on_progress))
        rows = _divide(stats, config.folds, chosen=read_folds(fold_file, store.ids) if fold_file else None)
        report = {
            **describe_set(stats, source.data_issues),
            "faulty": bad,
            "weights": plain(preparation.weights),
            "folds": {"settings": plain(config.folds), "lines": describe_folds(rows)},
        }
        store.finish(rows, report)
    return report


def divide(
    samples: Iterable[Sample], settings: FoldSettings, *, chosen: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Assign samples to folds."""
    return _divide([measure_sample(sample) for sample in samples], settings, chosen=chosen)


def resolved_weights(settings: WeightSettings, store: Store) -> WeightSettings:
    """Fill in the reference area that a store's size weights were made with."""
    if settings.size is None:
        return settings
    return WeightSettings.model_validate(store.report["weights"])


def _identity(config: Config, source: Source) -> dict[str, Any]:
    return {**{name: plain(config)[name] for name in STORE_SECTIONS}, "data": source.fingerprint()}


def _part(found: Iterable[SampleStats | str]) -> tuple[list[SampleStats], list[str]]:
    """Part the good samples from the faults of the others."""
    stats: list[SampleStats] = []
    bad: list[str] = []
    for one in found:
        if isinstance(one, str):
            bad.append(one)
        else:
            stats.append(one)
    return stats, bad


def _resolve(settings: WeightSettings, stats: Sequence[SampleStats]) -> WeightSettings:
    """Take the median area of the set for the reference area of a size weight."""
    assert settings.size is not None
    areas = np.concatenate([*(one.areas_px for one in stats), np.zeros(0)])
    median = float(np.median(areas)) if areas.size else 1.0
    return settings.model_copy(update={"size": settings.size.model_copy(update={"reference_area_px": median})})


def _divide(
    stats: Sequence[SampleStats], settings: FoldSettings, *, chosen: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    ids = [one.id for one in stats]
    mosaics = join_mosaics({one.id: one.edges for one in stats}) if settings.group == "mosaic" else {}
    groups = [mosaics.get(id_, id_) for id_ in ids]
    strata = [{"kind": one.kind, "coverage": one.coverage}.get(settings.stratify, "") for one in stats]
    folds = (
        chosen
        if chosen is not None
        else assign_folds(ids, strata=strata, groups=groups, n=settings.n, seed=settings.seed)
    )
    return [
        {"id": one.id, "fold": folds.get(one.id), "group": group, "stratum": stratum, "kind": one.kind}
        for one, group, stratum in zip(stats, groups, strata, strict=True)
    ]
