"""`make-targets`: a zip or folder becomes a store of samples, targets, weights and folds.

Each sample is read, checked, encoded and written by one process, all cores at once; what is already in the store is not
done again. A size weight without reference area needs the median area of the whole set first, and so a pass of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.folder import read_folds
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.folds import assign_folds, coverage_class, describe_folds
from kaggle_unet.data.mosaic import find_mosaics
from kaggle_unet.data.settings import FoldSettings
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.postprocess.finish import labels_from_planes
from kaggle_unet.steps.record import describe_environment
from kaggle_unet.store import Store, lock
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.targets.weights import weight_map
from kaggle_unet.types import Labels, Oddity, Sample

# What a store's targets depend on, beside the data.
STORE_SECTIONS = ("competition", "codec", "weights")

OnProgress = Callable[[str, int, int], None]


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
    """Prepare a store for training.

    Parameters
    ----------
    config : Config
        The experiment.
    data : str
        What `--data` takes: a zip, a folder, or a place inside a zip.
    folder : Path
        The store; made if missing, continued if it is of the same config and data.
    fold_file : Path, optional
        CSV `id,fold` that says the folds.
    skip_bad : bool
        Leave out samples that cannot be read, instead of ending.
    workers : int
        Processes.
    on_progress : callable
        Called with (what, done, total).

    Returns
    -------
    report : dict
        Plain values: counts, sizes, kinds, oddities, folds, and the ceiling of this codec with this decoding.

    Raises
    ------
    DataError
        If samples are faulty (all are listed), or the store is of other data or another config.
    """
    source = get_competition(config.competition.name).read(data, config.competition, with_masks=True)
    with lock(folder):
        store = Store.create(folder, _identity(config, source), {"environment": describe_environment(), "data": data})
        weights = _resolve(config.weights, source, workers, on_progress)
        todo = [id_ for id_ in source.ids if not store.has(id_)]
        work = partial(_prepare, store, source, config.codec, weights)
        bad = [
            fault for fault in _watched(map_samples(work, todo, workers), "samples", len(todo), on_progress) if fault
        ]
        if bad and (not skip_bad or len(bad) == len(source.ids)):
            msg = f"{data}: {len(bad)} of {len(source.ids)} samples are faulty; mend them, or pass --skip-bad"
            raise DataError(msg, bad)
        samples = [store.read(id_) for id_ in store.ids]
        rows = divide(samples, config.folds, chosen=read_folds(fold_file, store.ids) if fold_file else None)
        report = {
            **_describe(samples, source),
            "ceiling": _measure_ceiling(store, config, workers, on_progress),
            "faulty": bad,
            "weights": plain(weights),
            "folds": {"settings": plain(config.folds), "lines": describe_folds(rows)},
        }
        store.finish(rows, report)
    return report


def divide(
    samples: Sequence[Sample], settings: FoldSettings, *, chosen: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Assign samples to folds.

    Parameters
    ----------
    samples : sequence of Sample
        With labels.
    settings : FoldSettings
        How many folds, what is kept together, what is balanced.
    chosen : mapping of str to int, optional
        Folds that a person gave; a sample without one has none.

    Returns
    -------
    rows : list of dict
        `id`, `fold` (None for none), `group`, `stratum`, `kind` of each sample, in their order.
    """
    ids = [sample.id for sample in samples]
    mosaics = find_mosaics({sample.id: sample.image for sample in samples}) if settings.group == "mosaic" else {}
    groups = [mosaics.get(id_, id_) for id_ in ids]
    strata = [_stratum(sample, settings) for sample in samples]
    folds = (
        chosen
        if chosen is not None
        else assign_folds(ids, strata=strata, groups=groups, n=settings.n, seed=settings.seed)
    )
    return [
        {"id": sample.id, "fold": folds.get(sample.id), "group": group, "stratum": stratum, "kind": sample.kind}
        for sample, group, stratum in zip(samples, groups, strata, strict=True)
    ]


def resolved_weights(settings: WeightSettings, store: Store) -> WeightSettings:
    """Fill in the reference area that a store's size weights were made with.

    Parameters
    ----------
    settings : WeightSettings
        The config's.
    store : Store
        Finished.

    Returns
    -------
    settings : WeightSettings
        With a reference area wherever there is a size weight.
    """
    if settings.size is None:
        return settings
    return WeightSettings.model_validate(store.report["weights"])


def _identity(config: Config, source: Source) -> dict[str, Any]:
    return {**{name: plain(config)[name] for name in STORE_SECTIONS}, "data": source.fingerprint()}


def _prepare(store: Store, source: Source, codec_settings: CodecSettings, weights: WeightSettings, id_: str) -> str:
    """Read, encode and write one sample; what it returns is the fault, if there is one."""
    try:
        sample = source.load(id_)
    except DataError as error:
        return str(error)
    if sample.labels is None:
        return f"sample {id_!r} has no masks; training needs them"
    codec = CODECS[codec_settings.name]
    planes = codec.encode(sample.labels, codec_settings.border)
    weight = weight_map(sample.labels, codec.classify(planes), codec.classes, weights, ignore=sample.ignore)
    store.write(sample, planes, weight)
    return ""


def _resolve(settings: WeightSettings, source: Source, workers: int, on_progress: OnProgress) -> WeightSettings:
    if settings.size is None or settings.size.reference_area_px is not None:
        return settings
    areas = _watched(
        map_samples(partial(_read_areas, source), source.ids, workers), "areas", len(source.ids), on_progress
    )
    every = np.concatenate([*areas, np.zeros(0)])
    median = float(np.median(every)) if every.size else 1.0
    return settings.model_copy(update={"size": settings.size.model_copy(update={"reference_area_px": median})})


def _measure_ceiling(store: Store, config: Config, workers: int, on_progress: OnProgress) -> float:
    """Score the targets, decoded, against the labels they were made from: what a perfect network would get."""
    work = partial(_decode_targets, store, config)
    scores = list(_watched(map_samples(work, store.ids, workers), "ceiling", len(store.ids), on_progress))
    return float(np.mean(scores)) if scores else 1.0


def _decode_targets(store: Store, config: Config, id_: str) -> float:
    planes, _ = store.read_targets(id_)
    labels = labels_from_planes(CODECS[config.codec.name], planes, config.decode, config.postprocess)
    return get_competition(config.competition.name).metric(_labels(store.read(id_)), labels).mean


def _read_areas(source: Source, id_: str) -> NDArray[np.int64]:
    """Read one sample's areas; a faulty sample has none here and is named when it is prepared."""
    try:
        labels = source.load(id_).labels
    except DataError:
        labels = None
    return np.zeros(0, np.int64) if labels is None else areas_px(labels)[1:]


def _watched(results: Iterator[Any], what: str, total: int, on_progress: OnProgress) -> Iterator[Any]:
    for done, result in enumerate(results, 1):
        on_progress(what, done, total)
        yield result


def map_samples(work: Callable[[str], Any], ids: Sequence[str], workers: int) -> Iterator[Any]:
    """Do per-sample work over several processes, in order.

    Parameters
    ----------
    work : callable
        Takes an id; must be picklable.
    ids : sequence of str
        What to work on.
    workers : int
        Processes; 1, or few samples, works in this one.

    Yields
    ------
    result : object
        What `work` returns, in the order of `ids`.
    """
    if workers <= 1 or len(ids) < 64:  # a spawned interpreter costs about as much as this many samples
        yield from map(work, ids)
        return
    # `work` holds the listing of a whole zip, some MB: each process is given it once, not with every sample.
    with ProcessPoolExecutor(workers, get_context("spawn"), _adopt, (work,)) as pool:
        yield from pool.map(_work_on, ids, chunksize=8)


_adopted: list[Callable[[str], Any]] = []


def _adopt(work: Callable[[str], Any]) -> None:
    """Keep a process's work, when it starts."""
    _adopted[:] = [work]


def _work_on(id_: str) -> Any:
    return _adopted[0](id_)


def _stratum(sample: Sample, settings: FoldSettings) -> str:
    if settings.stratify == "kind":
        return sample.kind
    if settings.stratify == "coverage":
        return coverage_class(_labels(sample))
    return ""


def _labels(sample: Sample) -> Labels:
    assert sample.labels is not None
    return sample.labels


def _describe(samples: Sequence[Sample], source: Source) -> dict[str, Any]:
    areas = [areas_px(_labels(sample))[1:] for sample in samples]
    counts = [len(area) for area in areas]
    return {
        "samples": len(samples),
        "instances": int(sum(counts)),
        "instances_per_sample": _quantiles(counts),
        "area_px": _quantiles(np.concatenate([*areas, np.zeros(0)])),
        "sizes": dict(Counter(f"{s.image.shape[1]}×{s.image.shape[0]}" for s in samples).most_common()),
        "kinds": dict(Counter(sample.kind for sample in samples).most_common()),
        "without_instances": counts.count(0),
        "oddities": _summarise([*source.oddities, *(oddity for sample in samples for oddity in sample.oddities)]),
    }


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    marks = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
    return {name: float(np.percentile(values, mark)) for name, mark in marks.items()}


def _summarise(oddities: Iterable[Oddity]) -> list[dict[str, Any]]:
    table: dict[tuple[str, str], list[Oddity]] = {}
    for oddity in oddities:
        table.setdefault((oddity.what, oddity.done), []).append(oddity)
    return [
        {
            "what": what,
            "samples": len(found),
            "count": sum(oddity.count for oddity in found),
            "done": done,
            "example": found[0].sample,
        }
        for (what, done), found in sorted(table.items(), key=lambda item: -len(item[1]))
    ]
