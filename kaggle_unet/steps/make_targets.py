"""`make-targets`: turn a zip or folder into a store of samples and folds, with planes and weights.

Samples are read, checked, encoded, written and scored in parallel on all cores; what the store already has is skipped.
A size weight without a reference area needs the median area of the whole set: in a new store, the targets are then made
from the stored samples in a second pass.

A shard makes its share of samples and targets, and keeps their round-trip scores in ``shards/``; the unsharded call
finds them done.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.folder import read_folds
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, plain
from kaggle_unet.data.folds import assign_folds, describe_folds
from kaggle_unet.data.inputs import refuse_channels
from kaggle_unet.data.mosaic import join_mosaics
from kaggle_unet.data.settings import FoldSettings
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import split_location
from kaggle_unet.io.images import encode_png, encode_tiff
from kaggle_unet.steps.data_report import DataReport, SampleStats, describe_set, find_mask_problem, measure_sample
from kaggle_unet.steps.parallel import OnProgress, map_samples
from kaggle_unet.steps.provenance import describe_environment, refuse_foreign
from kaggle_unet.store import (
    Store,
    TargetSet,
    atomic_write,
    find_differences,
    lock,
    read_record,
    sample_file,
    write_record,
)
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.targets.weights import encode_with_weights
from kaggle_unet.types import IGNORED_CLASS, DataFrame, Shard

_SHARDS = "shards"
PNG_WEIGHT = 1000  # stands for a weight of 1 in a PNG of 16 bits


def make_targets(  # noqa: PLR0913  the options of a verb
    config: Config,
    data: str | Source,
    folder: Path,
    *,
    fold_file: Path | None = None,
    allow: Collection[str] = (),
    shard: Shard | None = None,
    workers: int = 1,
    on_progress: OnProgress = lambda *_: None,
) -> DataReport:
    """Prepare a store for training, or add the targets of another codec or other weights to it.

    `allow` may name faulty samples, which are then left out, and doubtful masks, which are then accepted. A shard
    returns a report on its own samples.
    """
    source = _open_source(config, data, folder, skip_bad="faulty samples" in allow)
    with lock(folder, shard=shard) as held:
        store = _open_store(config, data, source, folder, may_clear=not held.others())
        held.release_to_shards()
        weights = resolve_weights(config.weights, store.report) if store.manifest["complete"] else config.weights
        preparation = Preparation(config, weights, store, source)
        ids: Sequence[str] = store.ids if source is None else source.ids
        ids = shard.take(ids) if shard else ids
        n_stored = sum(sample_file(store.folder / "samples", id_).exists() for id_ in ids)

        def on_new(what: str, done: int, total: int) -> None:  # stored ones are only read again, which is quick
            on_progress(what, max(done, n_stored), total)

        found = list(map_samples(partial(prepare_sample, preparation), ids, workers, "samples", on_new))
        stats = [result for result in found if isinstance(result, SampleStats)]
        good = [sample.id for sample in stats]
        bad = [result for result in found if isinstance(result, str)]
        if bad and not ("faulty samples" in allow and stats):
            raise DataError(f"{data}: {len(bad)} of {len(ids)} samples are faulty; fix them, or pass --skip-bad", bad)
        report = describe_set(stats, source.data_issues if source else (), config.codec.classes)
        report["faulty"] = bad
        if shard is not None:
            _keep_scores(preparation, stats, shard)
            return report
        if source is None:  # only the first call knew what was found in the data
            report = cast("DataReport", {**store.report, "ceiling": report["ceiling"]})
        if "doubtful masks" not in allow and (doubt := find_mask_problem(report, config.codec.name)):
            name, cure = (data, "--accept-masks") if isinstance(data, str) else ("the samples", "accept_masks=True")
            raise DataError(f"{name}: {doubt}; look at some masks, and pass {cure} if they are right")
        if preparation.targets is None:
            weights = resolve_weights(weights, report)
            preparation = Preparation(config, weights, store, source)
            list(map_samples(partial(add_targets, preparation), good, workers, "targets", on_progress))
        folds = divide(stats, config.folds, read_folds(fold_file, good) if fold_file else None)
        lines = describe_folds(folds)
        report |= {"weights": plain(weights), "folds": {"settings": plain(config.folds), "lines": lines}}
        assert preparation.targets is not None
        store.finish(preparation.targets, folds, report)
        shutil.rmtree(folder / _SHARDS, ignore_errors=True)
    return report


def _keep_scores(preparation: "Preparation", stats: Sequence["SampleStats"], shard: Shard) -> None:
    """Keep a shard's round-trip scores, half of the work that the unsharded call would do again."""
    if preparation.targets is not None:
        preparation.store.flush((sample.id for sample in stats), preparation.targets)
        scores = {sample.id: sample.round_trip_score for sample in stats}
        about = {"targets": preparation.targets.identity, "scores": scores}
        write_record(preparation.store.folder / _SHARDS / f"{shard}.json", about)


def export_targets(
    config: Config,
    store_folder: Path,
    suffix: str,
    folder: Path,
    *,
    workers: int = 1,
    on_progress: OnProgress = lambda *_: None,
) -> None:
    """Write images, labels, planes and weight maps as PNG or TIFF files, for people who train elsewhere."""
    store = Store.open(store_folder)
    plane_names, targets = get_codec(config.codec).planes, open_targets(config, store)
    about = {"format": suffix, "planes": plane_names, "weight_of_1": PNG_WEIGHT if suffix == "png" else 1}
    record = folder / "export.json"
    refuse_foreign(record, (folder / name for name in ("images", "labels", "planes", "weights")))
    atomic_write(record, json.dumps({**about, **targets.identity}, indent=1) + "\n")
    export = partial(_export_sample, store, targets, plane_names, suffix, folder)
    list(map_samples(export, store.ids, workers, "exported", on_progress))


def _export_sample(
    store: Store, targets: TargetSet, plane_names: Sequence[str], suffix: str, folder: Path, sample_id: str
) -> None:
    sample, (planes, weights) = store.read(sample_id), targets.read(sample_id)
    assert sample.labels is not None
    arrays: dict[str, NDArray[Any]] = {"images": sample.image, "labels": sample.labels.astype(np.uint32)}
    arrays["weights"] = weights
    if suffix == "png":
        planes = (planes * 255).astype(np.uint8)
        arrays["labels"] = _to_16_bits(sample.labels, f"the labels of sample {sample_id!r}")
        arrays["weights"] = _to_16_bits(np.round(weights * PNG_WEIGHT), f"the weights of {sample_id!r} × {PNG_WEIGHT}")
    arrays |= {f"planes/{name}": plane for name, plane in zip(plane_names, planes, strict=True)}
    encode = {"png": encode_png, "tiff": encode_tiff}[suffix]
    for name, array in arrays.items():
        atomic_write(sample_file(folder / name, sample_id, f".{suffix}"), encode(array), flush=False)


def _to_16_bits(values: NDArray[Any], what: str) -> NDArray[np.uint16]:
    if values.max(initial=0) > np.iinfo(np.uint16).max:
        raise ConfigError(f"{what} reach {values.max():.0f}, more than the 16 bits of a PNG hold; take --export tiff")
    return values.astype(np.uint16)


def _open_store(config: Config, data: str | Source, source: Source | None, folder: Path, *, may_clear: bool) -> Store:
    if source is None:
        return Store.open(folder)
    identity = {"competition": plain(config.competition), "data": source.fingerprint()}
    about = {"environment": describe_environment(), "data": str(data)}
    return Store.create(folder, identity, about, may_clear=may_clear)


def _open_source(config: Config, data: str | Source, folder: Path, *, skip_bad: bool) -> Source | None:
    """Open the data, or return None if they are gone but the store has all samples that were made from them."""
    if not isinstance(data, str):
        return data
    try:
        split_location(data)
    except DataError as error:
        made_of = _find_origin(config, folder)
        if made_of is None:
            raise
        if Path(made_of).absolute() != Path(data).absolute():
            raise DataError(f"{error}; with --data {made_of}, {folder} needs no files") from None
        return None
    competition = get_competition(config.competition.name)
    return competition.read(data, config.competition, with_masks=True, skip_bad=skip_bad)


def _find_origin(config: Config, folder: Path) -> str | None:
    """Return the data that a complete store was made from, unless a config asks for other samples."""
    with suppress(DataError):
        store = Store.open(folder)
        if not changed_keys(config, store):
            return str(store.manifest["about"].get("data"))
    return None


def changed_keys(config: Config, store: Store) -> list[str]:
    """List the keys behind a store's samples in which a config differs from the one they were made with."""
    made, wanted = store.manifest["identity"]["competition"], plain(config.competition)
    return [f"competition.{key}" for key, _, _ in find_differences(made, wanted)]


def resolve_weights(settings: WeightSettings, report: Mapping[str, Any]) -> WeightSettings:
    """Use the median area of a store's instances as the reference area of size weights that name none."""
    if settings.size is None or settings.size.reference_area_px is not None:
        return settings
    size = settings.size.model_copy(update={"reference_area_px": report["area_px"].get("median", 1.0)})
    return settings.model_copy(update={"size": size})


def target_set(codec: CodecSettings, weights: WeightSettings, store: Store) -> TargetSet:
    """Return the targets of a codec with resolved weights, whether or not they exist."""
    named = {key: value for key, value in plain(codec).items() if value is not None}  # as before `classes` was a key
    return TargetSet(store.folder, {"codec": named, "weights": plain(weights)})


def open_targets(config: Config, store: Store) -> TargetSet:
    """Return the targets of a config, or raise a ConfigError that names the keys in which those of the store differ."""
    targets = target_set(config.codec, resolve_weights(config.weights, store.report), store)
    if targets.is_complete:
        return targets
    made = (find_differences(identity, targets.identity) for identity in store.target_identities())
    changed = [key for key, _, _ in min(made, key=len, default=())]
    msg = f"{store.folder} has no targets for this config, which differs in {', '.join(changed)}; to add them, run "
    msg += f"kaggle-unet make-targets CONFIG --data {store.manifest['about'].get('data')} --store {store.folder}"
    raise ConfigError(msg)


@dataclass(frozen=True)
class Preparation:
    """Where samples come from, how they are encoded and where they go; picklable."""

    config: Config
    weights: WeightSettings
    store: Store
    source: Source | None

    @cached_property
    def targets(self) -> TargetSet | None:
        """Where planes and weights go; None until the set's median area is known."""
        is_resolved = self.weights.size is None or self.weights.size.reference_area_px is not None
        return target_set(self.config.codec, self.weights, self.store) if is_resolved else None

    @cached_property
    def known_scores(self) -> dict[str, float]:
        """Round-trip scores that shards have kept."""
        made = [read_record(path, "delete it") for path in (self.store.folder / _SHARDS).glob("*.json")]
        same = [one for one in made if self.targets and not find_differences(one["targets"], self.targets.identity)]
        return {id_: score for one in same for id_, score in one["scores"].items()}


def prepare_sample(preparation: Preparation, sample_id: str) -> SampleStats | str:
    """Read, encode, write and score a sample, reusing what is stored, or return what is wrong with it."""
    config, store, source, targets = preparation.config, preparation.store, preparation.source, preparation.targets
    sample, planes = None, None
    if (known := preparation.known_scores.get(sample_id)) is not None:
        return measure_sample(store.read(sample_id), known, config.codec.classes or ())
    with suppress(DataError):  # what is missing, or damaged by a power cut, is made anew
        sample = store.read(sample_id)
        planes = targets.read(sample_id)[0] if targets else None
    if sample is None:
        try:
            sample = store.read(sample_id) if source is None else source.load(sample_id)
            refuse_channels(sample.image, config.input, f"sample {sample_id!r}")
        except DataError as error:
            return str(error)
        if sample.labels is None:
            return f"sample {sample_id!r} has no masks; training needs them"
        if config.codec.classes and sample.ignore is not None:  # one array holds both: scores leave these out, too
            sample = replace(sample, labels=np.where(sample.ignore, IGNORED_CLASS, sample.labels), ignore=None)
        store.write(sample)
    assert sample.labels is not None
    if planes is None:  # without a reference area, planes are only scored for now
        try:
            settings = preparation.weights if targets else WeightSettings()
            planes, weights = encode_with_weights(sample.labels, config.codec, settings, sample.ignore)
        except DataError as error:  # ids that are not classes
            return f"sample {sample_id!r}: {error}"
        if targets:
            targets.write(sample.id, planes, weights)
    score = config.metric(sample.labels, config.decoder(planes))
    return measure_sample(sample, score.mean, config.codec.classes or ())


def add_targets(preparation: Preparation, sample_id: str) -> None:
    """Encode a stored sample, unless its targets exist."""
    targets, codec, weights = preparation.targets, preparation.config.codec, preparation.weights
    assert targets is not None
    try:
        targets.read(sample_id)
    except DataError:
        sample = preparation.store.read(sample_id)
        assert sample.labels is not None
        targets.write(sample_id, *encode_with_weights(sample.labels, codec, weights, sample.ignore))


def divide(stats: Sequence[SampleStats], settings: FoldSettings, chosen: Mapping[str, int] | None = None) -> DataFrame:
    """Assign samples to folds, or take those that a folds file chose."""
    from pandas import DataFrame

    ids = [sample.id for sample in stats]
    mosaics = join_mosaics({sample.id: sample.edges for sample in stats}) if settings.group == "mosaic" else {}
    groups = [mosaics.get(id_, id_) for id_ in ids]
    strata = [{"kind": sample.kind, "coverage": sample.coverage}.get(settings.stratify, "") for sample in stats]
    kinds = [sample.kind for sample in stats]
    if chosen is None:
        inseparable = kinds if settings.group == "kind" else groups
        if settings.group == "kind" and (n_kinds := len(set(kinds))) < settings.n:
            msg = f"folds.group kind: {n_kinds} kinds of images can't be divided into {settings.n} folds; lower folds.n"
            raise ConfigError(msg)
        chosen = assign_folds(ids, strata=strata, groups=inseparable, n=settings.n, seed=settings.seed)
    columns = {"id": ids, "fold": list(map(chosen.get, ids)), "group": groups, "stratum": strata, "kind": kinds}
    return DataFrame(columns).astype({"fold": "Int64"})
