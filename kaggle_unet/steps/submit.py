"""`submit`: images and checkpoints in, a CSV with its manifest out.

A shard keeps the rows of its images beside the CSV, in ``<name>.csv.shards/``; the unsharded call takes those made with
the same networks, settings and images, predicts what is missing, and removes the folder.
"""

import json
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.competitions.competition import Competition, read_shapes
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import order_ids, to_rles
from kaggle_unet.config import Config, plain
from kaggle_unet.errors import ConfigError
from kaggle_unet.io.images import encode_png, encode_tiff
from kaggle_unet.models.checkpoint import Checkpoint
from kaggle_unet.report.draw import colour_classes
from kaggle_unet.steps.build import load_ensemble, open_images, predict_samples
from kaggle_unet.steps.check import Submission, describe_coverage, describe_data, refuse_output, write_checked
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.predict import Estimate, estimate_prediction
from kaggle_unet.steps.provenance import claim_folder, name_place
from kaggle_unet.steps.second_level import choose_decoder
from kaggle_unet.steps.time_budget import TimeBudget
from kaggle_unet.store import atomic_write, find_differences, hash_plain, read_record, sample_file, write_record
from kaggle_unet.types import HalfPlanes, Image, Labels, Planes, Sample, Shard

# Planes that may wait to be decoded, in pixels: one large image, or hundreds of small ones.
_MOST_PENDING_PX = 1 << 24


def submit(  # noqa: PLR0913  the options of a verb
    config: Config,
    data: str,
    checkpoints: Sequence[Path],
    output: Path,
    *,
    labels_folder: Path | None = None,
    decode: str | None = None,
    second_level: str | None = None,
    overrides: Sequence[str] = (),
    time_budget_s: float | None = None,
    skip_bad: bool = False,
    shard: Shard | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Submission | Estimate | None:
    """Write a submission or a shard of its rows, or estimate what the whole would take."""
    if shard and time_budget_s is not None:
        raise ConfigError("--time-budget is for the whole: leave out --shard, or divide the images among more shards")
    budget = None if time_budget_s is None else TimeBudget(time_budget_s)
    refuse_output(output)
    competition = get_competition(config.competition.name)
    ensemble = load_ensemble(checkpoints, config)
    source = open_images(config, data, skip_bad=skip_bad)
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, second_level=second_level, overrides=overrides)
    set_aside: dict[str, str] | None = {} if skip_bad else None
    sizes = read_shapes(source.ids, source.shape, set_aside)
    order, settings = order_ids(source.ids, competition, data), chosen.config.inference
    if dry_run:

        def count_bytes(sample: Sample, planes: Planes | HalfPlanes) -> int:
            rows = _to_rows(chosen.decode(planes, sample.image), sample.id, config, competition)
            return sum(len(f"{id_},{code}\n") for id_, codes in rows.items() for code in codes)

        return estimate_prediction(ensemble, sizes, source.load, settings, count_bytes)
    about = {
        "checkpoints": sorted(ensemble.hashes.values()),
        "data": source.fingerprint(),
        "config": plain(chosen.config),
        "second_level": chosen.second_level_hash,
        "labels": labels_folder and str(labels_folder.resolve()),
    }
    _claim(labels_folder, config, sizes)
    shards = output.with_name(f"{output.name}.shards")
    found, black = ({}, set()) if shard else _read_shards(shards, about)
    n_total = -(-len(sizes) // shard.of) if shard else len(sizes)
    if budget:
        predicted = budget.predict(ensemble, sizes, source.load, settings, chosen.decode, set_aside, done=set(found))
    else:
        predicted = predict_samples(
            ensemble, sizes, source.load, settings, done=set(found), shard=shard, set_aside=set_aside
        )
    for sample, decoded in decode_concurrently(predicted, chosen.decode):
        found[sample.id] = _to_rows(decoded, sample.id, config, competition)
        black |= {sample.id} if sample.kind == "black" else set()
        on_progress("images", min(len(found), n_total), n_total)
        if labels_folder is not None:
            write_label_image(config, labels_folder, sample.id, decoded)
    if shard:
        write_record(shards / f"{shard}.json", {"about": about, "rows": found, "black": sorted(black)})
        return None
    for id_ in order:  # what is missing was set aside, or there was no time for it
        found.setdefault(id_, {row: [""] for row in _row_ids(id_, config)})
    reasons = {id_: reason.replace(data, name_place(data)) for id_, reason in (set_aside or {}).items()}
    manifest = {
        "warnings": [*chosen.remarks, *(budget.remarks(len(sizes)) if budget else []), *reasons.values()],
        **chosen.names,
        **({"set_aside": reasons} if reasons else {}),
        **({"time_budget": {"seconds": budget.seconds, "reduced": budget.reduced}} if budget else {}),
        "data": describe_data(data, source),
        **describe_ensemble(chosen.config, ensemble.checkpoints),
    }
    unread = f"; {len(reasons)} of them can't be read and have an empty row" if reasons else ""
    how = (
        f"covers   {describe_coverage(source)}{unread}\n"
        f"decoding {chosen.names['decoding']}, second level {chosen.names['second_level'] or 'none'}"
    )
    rles = {row: codes for id_ in order for row, codes in found[id_].items()}
    shapes = {row: sizes.get(id_, (0, 0)) for id_ in order for row in found[id_]}
    written = write_checked(output, competition, rles, shapes, black=black, how=how, manifest=manifest)
    shutil.rmtree(shards, ignore_errors=True)
    return written


Rows = dict[str, dict[str, list[str]]]  # run-length codes by image and row id


def _read_shards(folder: Path, about: Mapping[str, Any]) -> tuple[Rows, set[str]]:
    """Return the rows that shards of the same prediction have kept, and the ids of black images."""
    rows: Rows = {}
    black: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        kept = read_record(path, "delete it")
        if not find_differences(kept["about"], json.loads(json.dumps(about))):
            rows |= kept["rows"]
            black |= set(kept["black"])
    return rows, black


def _row_ids(sample_id: str, config: Config) -> list[str]:
    """List the ids of an image's rows: its own, or one for each class."""
    return [f"{sample_id}_{name}" for name in config.codec.classes or ()] or [sample_id]


def _to_rows(labels: Labels, sample_id: str, config: Config, competition: Competition) -> dict[str, list[str]]:
    """Encode an image's objects, or each of its classes under an id of its own."""
    parts = [labels == k for k in range(len(config.codec.classes or ()))] or [labels]
    return {row: to_rles(part, competition, row) for row, part in zip(_row_ids(sample_id, config), parts, strict=True)}


def _claim(folder: Path | None, config: Config, ids: Iterable[str]) -> None:
    if folder is not None:
        suffix = ".png" if config.codec.classes else ".tif"
        claim_folder(folder, "submit", (sample_file(folder, id_, suffix) for id_ in ids))


def write_label_image(config: Config, folder: Path, sample_id: str, labels: Labels) -> None:
    """Write instances as a TIFF, and classes as two PNGs, of their numbers and of their colours."""
    if not (names := config.codec.classes):
        dtype = np.uint16 if labels.max(initial=0) < 2**16 else np.uint32
        atomic_write(sample_file(folder, sample_id, ".tif"), encode_tiff(labels.astype(dtype)))
        return
    table = config.competition.classes or dict.fromkeys(names, 0)
    numbers = np.array([value if isinstance(value, int) else k for k, value in enumerate(table.values())])
    if len(set(numbers.tolist())) < len(names):  # the table doesn't number the classes
        numbers = np.arange(len(names))
    ids = numbers[labels].astype(np.uint8 if numbers.max() < 2**8 else np.uint16)
    atomic_write(sample_file(folder, sample_id, ".png"), encode_png(ids))
    atomic_write(sample_file(folder / "colours", sample_id, ".png"), encode_png(colour_classes(table)[labels]))


def decode_concurrently(
    predicted: Iterator[tuple[Sample, Planes | HalfPlanes]],
    decoder: Callable[[Planes | HalfPlanes, Image], Labels],
    *,
    most_pending_px: int = _MOST_PENDING_PX,
) -> Iterator[tuple[Sample, Labels]]:
    """Decode in a thread while the networks work on the next images; kernels release the GIL."""
    pending: deque[tuple[Sample, Future[Labels]]] = deque()
    thread = ThreadPoolExecutor(1)
    try:
        for sample, planes in predicted:
            pending.append((sample, thread.submit(decoder, planes, sample.image)))
            n_px = sum(math.prod(waiting.image.shape[:2]) for waiting, _ in pending)
            while pending and (pending[0][1].done() or n_px > most_pending_px):
                first, decoded = pending.popleft()
                n_px -= math.prod(first.image.shape[:2])
                yield first, decoded.result()
        for sample, decoded in pending:
            yield sample, decoded.result()
    finally:  # after a fault, nothing is decoded in vain
        thread.shutdown(wait=False, cancel_futures=True)


def without_places(tree: Any) -> Any:
    """Replace absolute paths in a config, such as those of local encoder weights, by their names."""
    if isinstance(tree, dict):
        return {key: without_places(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_places(item) for item in tree]
    return Path(tree).name if isinstance(tree, str) and Path(tree).is_absolute() else tree


def describe_ensemble(config: Config, checkpoints: Mapping[Path, Checkpoint]) -> dict[str, Any]:
    """Describe how the checkpoints were trained, which need not be what the config says, and how they predict."""
    trained, listed = next(iter(checkpoints.values()))["config"], []
    for file, one in checkpoints.items():
        others = {key: its for key, _, its in find_differences(trained, one["config"])}
        about = {"name": "/".join(file.parts[-3:]), "sha256": one["sha256"], "validation_score": one["score"]}
        listed.append({**about, **({"config_differences": others} if others else {})})
    described = {
        "checkpoints": listed,
        "config": trained,
        "config_hash": hash_plain(trained),
        "prediction": plain(config, "codec", "inference", "decode", "postprocess"),
    }
    return {name: without_places(value) for name, value in described.items()}
