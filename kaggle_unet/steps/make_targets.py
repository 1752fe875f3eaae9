"""`make-targets`: a zip or folder becomes a store of samples, targets, weights and folds.

Each sample is read, checked, encoded, written and scored by one process, all cores at once; what is already in the
store is not done again. A size weight without reference area needs the median area of the whole set first: the targets
are then made from the stored samples, so that no file is decoded twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.folder import read_folds
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.folds import assign_folds, describe_folds
from kaggle_unet.data.mosaic import join_mosaics
from kaggle_unet.data.settings import FoldSettings
from kaggle_unet.errors import DataError
from kaggle_unet.steps.facts import Facts, describe_set, take_facts
from kaggle_unet.steps.prepare import Preparation, add_targets, prepare_sample
from kaggle_unet.steps.record import describe_environment
from kaggle_unet.steps.workers import OnProgress, map_samples, watched
from kaggle_unet.store import Store, lock
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.types import Sample

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
        facts, bad = _part(watched(results, "samples", len(source.ids), on_progress))
        if bad and not (skip_bad and facts):
            msg = f"{data}: {len(bad)} of {len(source.ids)} samples are faulty; mend them, or pass --skip-bad"
            raise DataError(msg, bad)
        if not preparation.has_weights:
            preparation = replace(preparation, weights=_resolve(config.weights, facts))
            todo = [one.id for one in facts if not store.has(one.id)]
            results = map_samples(partial(add_targets, preparation), todo, workers)
            list(watched(results, "targets", len(todo), on_progress))
        rows = _divide(facts, config.folds, chosen=read_folds(fold_file, store.ids) if fold_file else None)
        report = {
            **describe_set(facts, source.oddities),
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
    return _divide([take_facts(sample) for sample in samples], settings, chosen=chosen)


def resolved_weights(settings: WeightSettings, store: Store) -> WeightSettings:
    """Fill in the reference area that a store's size weights were made with."""
    if settings.size is None:
        return settings
    return WeightSettings.model_validate(store.report["weights"])


def _identity(config: Config, source: Source) -> dict[str, Any]:
    return {**{name: plain(config)[name] for name in STORE_SECTIONS}, "data": source.fingerprint()}


def _part(found: Iterable[Facts | str]) -> tuple[list[Facts], list[str]]:
    """Part the good samples from the faults of the others."""
    facts: list[Facts] = []
    bad: list[str] = []
    for one in found:
        if isinstance(one, str):
            bad.append(one)
        else:
            facts.append(one)
    return facts, bad


def _resolve(settings: WeightSettings, facts: Sequence[Facts]) -> WeightSettings:
    """Take the median area of the set for the reference area of a size weight."""
    assert settings.size is not None
    areas = np.concatenate([*(one.areas_px for one in facts), np.zeros(0)])
    median = float(np.median(areas)) if areas.size else 1.0
    return settings.model_copy(update={"size": settings.size.model_copy(update={"reference_area_px": median})})


def _divide(
    facts: Sequence[Facts], settings: FoldSettings, *, chosen: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    ids = [one.id for one in facts]
    mosaics = join_mosaics({one.id: one.edges for one in facts}) if settings.group == "mosaic" else {}
    groups = [mosaics.get(id_, id_) for id_ in ids]
    strata = [{"kind": one.kind, "coverage": one.coverage}.get(settings.stratify, "") for one in facts]
    folds = (
        chosen
        if chosen is not None
        else assign_folds(ids, strata=strata, groups=groups, n=settings.n, seed=settings.seed)
    )
    return [
        {"id": one.id, "fold": folds.get(one.id), "group": group, "stratum": stratum, "kind": one.kind}
        for one, group, stratum in zip(facts, groups, strata, strict=True)
    ]
