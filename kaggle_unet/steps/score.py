"""`score`: score a submission against the truth, or a run on its out-of-fold planes."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.mask_files import bare_name, locate_masks
from kaggle_unet.competitions.pairing import plain_name
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import decode_submitted, read_submission
from kaggle_unet.competitions.truth import Truth, read_truth
from kaggle_unet.config import Config, without_weights
from kaggle_unet.errors import DataError, shorten_list
from kaggle_unet.inference.settings import PLANE_SETTINGS
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.images import SUFFIX_PATTERN
from kaggle_unet.io.label_images import read_values
from kaggle_unet.io.tables import to_csv
from kaggle_unet.metrics.error_types import tabulate_areas, tabulate_oracle_fixes
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.overlap import count_overlap, merge_instances
from kaggle_unet.metrics.pixels import OF_MASKS, ClassScore, count_confusion, score_classes, tabulate_pixels
from kaggle_unet.metrics.score import ImageScore, interval_of_mean, score_overlap
from kaggle_unet.steps.check import competition_settings
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import refuse_file
from kaggle_unet.steps.run import OF_CONFIG, check_decode_params, choose_decode_params, fold_folder, open_run, run_folds
from kaggle_unet.store import Store, atomic_write
from kaggle_unet.store.atomic import refuse_to_replace
from kaggle_unet.store.planes import describe_planes, read_planes
from kaggle_unet.types import DataFrame, Labels, Overlap, Planes, Sample

# How our tables of images, objects and classes begin.
_TABLE_HEADS = (b"id,score,prec", b"id,kind,score", b"id,fold,kind,score", b"id,side,object", b"id,class,true_px")


@dataclass(frozen=True)
class Scored:
    """One image with its prediction."""

    id: str
    score: ImageScore | ClassScore
    overlaps: tuple[Overlap, ...]  # as labelled and as scored; none for classes
    confusion: NDArray[np.int64]
    parts: Mapping[str, str]
    group: str


@dataclass(frozen=True)
class Scores:
    """Scores of a set of images: the mean with its interval, by IoU, by area and by parts of the set."""

    score: float
    interval: Sequence[float]
    images: int
    true_objects: int
    predicted_objects: int
    parts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    per_iou: DataFrame | None
    per_area: DataFrame | None
    oracle_fixes: DataFrame | None
    pixels: Mapping[str, float]
    per_class: DataFrame
    per_image: Mapping[str, float]
    scored: Sequence[Scored]
    decoding: str | None = None
    trained_on: "Scores | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, tables as lists of rows."""
        plain = ("score", "interval", "images", "true_objects", "predicted_objects", "parts", "pixels")
        fixes = None if self.oracle_fixes is None else self.oracle_fixes.rename(columns={"error_type": "mended"})
        tables = {"per_class": self.per_class, "per_iou": self.per_iou, "per_area": self.per_area, "mended": fixes}
        return {
            **({"decoding": self.decoding} if self.decoding else {}),
            **{name: getattr(self, name) for name in plain},
            **{name: table.to_dict("records") for name, table in tables.items() if table is not None},
            "per_image": self.per_image,
            **({"trained_on": self.trained_on.to_json()} if self.trained_on else {}),
        }


def score_predictions(
    predicted: Path, truth: str, name: str, *, on_warning: Callable[[str], None] = lambda _: None, **places: str | None
) -> Scores:
    """Score a submission as Kaggle would, or labels in any format; `places` are `images`, `masks` and `masks_are`."""
    settings = competition_settings(name, **places)
    labels = read_truth(truth, get_competition(settings.name), settings)
    if predicted.suffix.lower() == ".csv":
        return score_submission(predicted, labels, name, on_warning)
    is_alike = (predicted / (places.get("masks") or "")).is_dir()  # else `places` describe the truth alone
    folder = competition_settings("folder", **({**places, "masks_are": None} if is_alike else {}))
    if _are_numbered(predicted, folder):
        folder = folder.model_copy(update={"masks_are": "labels"})
    found = read_truth(str(predicted), get_competition("folder"), folder)
    return score_labels(predicted, found, labels, name, on_warning)


def _are_numbered(predicted: Path, settings: CompetitionSettings) -> bool:
    """Return whether masks hold 16- or 32-bit numbers: such are label images, however odd a network's output looks."""
    if predicted.is_file() and predicted.suffix.lower() != ".zip":
        return False
    archive = open_archive(str(predicted))
    found = locate_masks(archive, settings)[1] or archive.names
    names = [name for name in found if re.search(SUFFIX_PATTERN + "$", name)]
    if len({name.rpartition("/")[0] for name in names}) != 1:  # there may be a file per object
        return False
    images = (read_values(archive.read(name), archive.where(name))[0] for name in names)  # floats are read as int64
    return any(image.dtype.itemsize in {2, 4} and image.max(initial=0) not in {0, 255, 65535} for image in images)


def score_submission(
    csv: Path, truth: Mapping[str, Labels], name: str, on_warning: Callable[[str], None] = lambda _: None
) -> Scores:
    """Score a submission against labels."""
    return score_labels(csv, read_submission(csv, name), truth, name, on_warning)


def score_labels(
    where: Path,
    predicted: Mapping[str, list[str]] | Mapping[str, Labels],
    truth: Mapping[str, Labels],
    name: str,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Scores:
    """Score run-length codes or labels, by id, against the true labels."""
    names = _match_names(truth, predicted)
    missing = sorted(set(names.values()) - set(predicted))
    if missing:
        msg = f"{where}: {len(missing)} of the {len(truth)} images to be scored are missing; every image of the truth "
        msg += "needs a row, or a label image of its name"
        raise DataError(msg, missing[:20])
    if others := sorted(set(predicted) - set(names.values())):
        on_warning(
            f"{where}: {len(others)} images are not in the truth and not scored: {', '.join(shorten_list(others))}"
        )
    scored = []
    for id_ in truth:
        labels, kind, _ = truth.read(id_) if isinstance(truth, Truth) else (truth[id_], None, ())
        found = predicted[names[id_]]
        pred = decode_submitted(where, id_, found, labels.shape) if isinstance(found, list) else found
        if pred.shape != labels.shape:
            raise DataError(f"{where}: image {id_!r} is {pred.shape} (height, width), its truth {labels.shape}")
        scored.append(score_pair(id_, labels, pred, name, {} if kind is None else {"kind": kind}))
    return summarize_scores(scored)


def _match_names(truth: Collection[str], predicted: Collection[str]) -> dict[str, str]:
    """Match each image of the truth with its prediction, by exact name or else as names of masks and images match."""
    for form in (str, plain_name, bare_name):
        of_form = {form(id_): id_ for id_ in predicted}
        names = {id_: of_form[form(id_)] for id_ in truth if form(id_) in of_form}
        if len(set(names.values())) == len(truth) and len(of_form) == len(predicted):
            return names
    return dict(zip(truth, truth, strict=True))


def score_run(
    run: Path,
    store_folder: Path | None = None,
    *,
    decode: str | None = None,
    train: bool = False,
    on_progress: OnProgress = lambda *_: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Scores:
    """Score a run on the samples that each fold was not trained on and, with `train`, also on those that it was."""
    config, store, file = open_run_to_decode(run, store_folder, decode, on_warning)
    classes = config.decoder.codec.pixel_classes
    scores = summarize_scores([scored for scored, *_ in out_of_fold(run, config, store)], classes)
    trained_on = score_training_samples(run, config, store, on_progress) if train else None
    return replace(scores, decoding=str(file or OF_CONFIG), trained_on=trained_on)


def open_run_to_decode(
    run: Path,
    store_folder: Path | None,
    decode: str | None,
    on_warning: Callable[[str], None],
    others: Sequence[Path] = (),
) -> tuple[Config, Store, Path | None]:
    """Open a run, choose decode parameters for its out-of-fold planes, and warn if they were searched on others.

    With other runs, the planes are those of all runs.
    """
    config, store = open_run(run, store_folder)
    if others:  # each run has a weight then, not each checkpoint
        config = without_weights(config)
    config, file = choose_decode_params(config, [run, *others], chosen=decode)
    folders = [fold_folder(one, fold) / "planes" for one in (run, *others) for fold in folds_with_planes(one)]
    for remark in check_decode_params(file, checkpoint_hashes(folders), config, *prediction_views(folders)):
        on_warning(remark)
    return config, store, file


def score_training_samples(run: Path, config: Config, store: Store, on_progress: OnProgress) -> Scores:
    """Predict each fold's training samples with its best checkpoint, and score them."""
    from kaggle_unet.steps.build import load_ensemble, predict_samples

    config, table, scored = without_weights(config), run_folds(run).dropna(subset="fold"), list[Scored]()
    groups = dict(zip(table["id"], table["group"], strict=True))
    for fold in folds_with_planes(run):
        samples = {id_: store.read(id_) for id_ in table["id"][table["fold"] != fold]}
        sizes = {id_: (sample.image.shape[0], sample.image.shape[1]) for id_, sample in samples.items()}
        ensemble = load_ensemble([fold_folder(run, fold)], config)
        predicted = predict_samples(ensemble, sizes, samples.__getitem__, config.inference)
        for n, (sample, planes) in enumerate(predicted, 1):
            scored.append(_score_sample(config, sample, config.decoder(planes, sample.image), fold, groups[sample.id]))
            on_progress(f"training images of fold {fold}", n, len(samples))
    return summarize_scores(scored, config.decoder.codec.pixel_classes)


def out_of_fold(
    run: Path, config: Config, store: Store, folds: Sequence[int] | None = None
) -> Iterator[tuple[Scored, Sample, Planes, Labels]]:
    """Decode and score a run's out-of-fold planes, one sample at a time."""
    for row in out_of_fold_samples(run, folds).to_dict("records"):
        sample, planes = store.read(row["id"]), read_planes(row["planes"], row["id"])
        labels = config.decoder(planes, sample.image)
        yield _score_sample(config, sample, labels, row["fold"], row["group"]), sample, planes, labels


def out_of_fold_samples(run: Path, folds: Sequence[int] | None = None) -> DataFrame:
    """Return the rows of folds.csv that have out-of-fold planes, with the planes' folder in a column `planes`."""
    from pandas import DataFrame, concat

    table = run_folds(run).set_index("id", drop=False)
    parts: list[DataFrame] = []
    for fold in folds_with_planes(run) if folds is None else folds:
        folder = fold_folder(run, fold) / "planes"
        part: Any = table.reindex(describe_planes(folder)["ids"])
        for other in part[part["fold"].ne(fold).fillna(True)].itertuples():
            msg = f"{folder}: sample {other.Index!r} is not of fold {fold}; run kaggle-unet predict --oof again"
            raise DataError(msg)
        parts.append(part.assign(planes=folder))
    return concat(parts)


def checkpoint_hashes(folders: Iterable[Path]) -> list[str]:
    """Return the hashes of the checkpoints that predicted the planes in some folders."""
    return sorted({digest for folder in set(folders) for digest in describe_planes(folder)["checkpoints"]})


def prediction_views(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the prediction settings that shaped the planes in some folders, each combination once."""
    found = [describe_planes(folder)["inference"] for folder in dict.fromkeys(folders)]
    # planes of earlier versions have fewer
    views = [{name: settings[name] for name in PLANE_SETTINGS if name in settings} for settings in found]
    return [entry for number, entry in enumerate(views) if entry not in views[:number]]


def folds_with_planes(run: Path) -> list[int]:
    """List the folds of a run that have out-of-fold planes."""
    known = sorted(run_folds(run)["fold"].dropna().unique().tolist())
    folds = [fold for fold in known if (fold_folder(run, fold) / "planes").exists()]
    if not folds:
        raise DataError(f"{run}: no fold has out-of-fold planes; train a fold, or run kaggle-unet predict --oof")
    return folds


def _score_sample(config: Config, sample: Sample, labels: Labels, fold: int, group: str) -> Scored:
    """Score a sample's instances, or its classes."""
    assert sample.labels is not None
    parts = {"fold": str(fold), "kind": sample.kind}
    if not config.codec.classes:
        return score_pair(sample.id, sample.labels, labels, config.competition.name, parts, group=group)
    score = score_classes(sample.labels, labels, config.codec.classes)
    return Scored(sample.id, score, (), score.confusion, parts, group)


def score_pair(
    id_: str,
    true: Labels,
    predicted: Labels,
    competition: str,
    parts: Mapping[str, str] | None = None,
    *,
    group: str | None = None,
) -> Scored:
    """Score one image."""
    overlap = count_overlap(true, predicted)
    scored_overlap = merge_instances(overlap) if get_competition(competition).single_object else overlap
    confusion = count_confusion(true, predicted)
    return Scored(id_, score_overlap(scored_overlap), (overlap, scored_overlap), confusion, parts or {}, group or id_)


def summarize_scores(scored: Sequence[Scored], classes: Sequence[str] = OF_MASKS) -> Scores:
    """Summarize the scores of images."""
    from pandas import DataFrame

    if not scored:
        raise DataError("there is no image to score")
    overlaps = [entry.overlaps for entry in scored if entry.overlaps]  # all or none
    as_labelled, as_scored = zip(*overlaps, strict=True) if overlaps else ((), ())
    images = DataFrame([{"id": row.id, "group": row.group, "score": row.score.mean, **row.parts} for row in scored])
    names = sorted(set(images.columns) - {"id", "group", "score"})
    pixels, per_class = tabulate_pixels([entry.confusion for entry in scored], classes)
    return Scores(
        **_mean(images),
        true_objects=sum(overlap.n_true for overlap in as_labelled),
        predicted_objects=sum(overlap.n_pred for overlap in as_labelled),
        parts={name: {str(key): _mean(part) for key, part in images.groupby(name)} for name in names},
        per_iou=summarize(as_labelled) if overlaps else None,
        per_area=tabulate_areas(as_scored) if overlaps else None,
        oracle_fixes=tabulate_oracle_fixes(as_scored) if overlaps else None,
        pixels=pixels,
        per_class=per_class,
        per_image=dict(zip(images["id"].tolist(), images["score"].tolist(), strict=True)),
        scored=scored,
    )


def _mean(images: DataFrame) -> dict[str, Any]:
    scores = images["score"].tolist()
    interval = interval_of_mean(scores, images["group"].tolist())
    return {"score": fsum(scores) / len(scores), "interval": list(interval), "images": len(scores)}


def refuse_tables(path: Path, read: Iterable[object]) -> None:
    """Refuse a path whose tables would replace what is read, or any file but such tables."""
    tables = [path, *(path.with_name(f"{path.stem}_{kind}.csv") for kind in ("objects", "classes"))]
    refuse_to_replace(tables, read)
    for table in tables:
        refuse_file(table, ".csv", *_TABLE_HEADS)


def write_score_tables(path: Path, scored: Sequence[Scored]) -> Path:
    """Write a table of images and, beside it, ``<name>_objects.csv`` or ``<name>_classes.csv``; return its path."""
    from pandas import DataFrame

    images, rows, kind = [], [], "objects"
    columns = ["id", "side", "object", "area_px", "partner", "iou"]
    for image in scored:
        about = {"id": image.id, **image.parts, "score": image.score.mean}
        if isinstance(image.score, ClassScore):
            kind, columns = "classes", ["id", "class", "true_px", "predicted_px", "iou"]
            rows += [{"id": image.id, **row} for row in image.score.rows()]
        else:
            overlap, precision = image.overlaps[0], image.score.precision
            about |= {"precision_50": precision[0], "precision_75": precision[5]}
            about |= {"true_objects": overlap.n_true, "predicted_objects": overlap.n_pred}
            rows += [{"id": image.id, **row} for row in _list_objects(overlap)]
        images.append(about)
    others = path.with_name(f"{path.stem}_{kind}.csv")
    table = DataFrame(rows, columns=columns)
    atomic_write(path, to_csv(DataFrame(images)))
    atomic_write(others, to_csv(table.astype({"partner": "Int64"}) if kind == "objects" else table))
    return others


def _list_objects(overlap: Overlap) -> Iterator[dict[str, Any]]:
    """Yield all objects of both sides, each with its partner: the object of the other side with the highest IoU."""
    iou = overlap.shared_px / overlap.union_px
    sides = (
        ("true", overlap.areas_true_px, overlap.true, overlap.pred),
        ("predicted", overlap.areas_pred_px, overlap.pred, overlap.true),
    )
    for side, areas, own, other in sides:
        order = np.lexsort((other, -iou, own))
        objects, firsts = np.unique(own[order], return_index=True)
        best = dict(zip(objects.tolist(), order[firsts].tolist(), strict=True))
        for index, area in enumerate(areas.tolist()):
            pair = best.get(index)
            found = {"partner": None, "iou": 0.0} if pair is None else {"partner": other[pair] + 1, "iou": iou[pair]}
            yield {"side": side, "object": index + 1, "area_px": area, **found}
