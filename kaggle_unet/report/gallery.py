"""The report: one HTML file in which one browses a run's predictions and their errors, and reads its scores and curves.

The file is self-contained: images at full resolution, planes, labels and the overlaps of all objects are data in it,
which the scripts of `page/` score and draw. A policy in its head forbids requests.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy.ndimage import find_objects

from kaggle_unet.masks.labels import relabel
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.pixels import ClassScore
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS, score_overlap
from kaggle_unet.report.draw import heatmap, resize, stretch
from kaggle_unet.report.plots import plot_curves, plot_thresholds
from kaggle_unet.store.atomic import atomic_write
from kaggle_unet.types import IGNORED_CLASS, Image, Labels, Planes, Sample

if TYPE_CHECKING:
    from pandas import DataFrame

SIDE_PX = 256  # longer side of the pictures of classes
MAX_SIDE_PX = 2048  # larger images are shrunk in the page
SCRIPTS = ("scores.js", "viewer.js", "browser.js")


def render_report(
    title: str,
    stats: Mapping[str, object],
    folds: Sequence[Mapping[str, Any]],
    cards: Iterable[Mapping[str, Any]],
    tables: Mapping[str, "DataFrame"] = MappingProxyType({}),
    by_threshold: tuple[Mapping[float, float], float] | None = None,
    legend: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Render a run as one HTML page, with its tables `classes`, `areas` and `fixed`, and the score by mask threshold.

    `legend` are the colours of classes. All text is escaped. Without cards the page says so. Cards of equal score are
    sorted by id.
    """
    cards = sorted(cards, key=lambda card: (card["score"], card["id"]))
    environment = Environment(
        loader=PackageLoader("kaggle_unet.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        title=title,
        stats=stats,
        columns=list(dict.fromkeys(key for fold in folds for key in fold if key != "history")),
        folds=folds,
        curves=[_curve(fold) for fold in folds if fold.get("history")],
        cards=cards,
        images=[card["data"] for card in cards if "data" in card],
        pictures=[Markup(card["pictures"]) for card in cards if "data" in card],
        scripts=[_read_page_file(name) for name in SCRIPTS],
        style=_read_page_file("style.css"),
        other=next((card["data"]["against"] for card in cards if "data" in card), ""),
        totals=_totals(cards),
        legend=legend,
        kinds=_by_kind(cards),
        **{name: _rows(tables.get(name)) for name in ("classes", "areas", "fixed")},
        by_threshold=[{"threshold": f"{value:.2f}", "score": score} for value, score in by_threshold[0].items()]
        if by_threshold
        else [],
        threshold_png=base64.b64encode(plot_thresholds(*by_threshold)).decode() if by_threshold else "",
        thresholds=[f"{k / 20:.2f}" for k in THRESHOLDS_TWENTIETHS],
    )


def _read_page_file(name: str) -> Markup:
    return Markup((files("kaggle_unet.report") / "page" / name).read_text(encoding="utf-8"))


def _rows(table: "DataFrame | None") -> Sequence[Mapping[Any, Any]]:
    return [] if table is None else table.to_dict("records")


def _curve(fold: Mapping[str, Any]) -> dict[str, str]:
    """Plot a fold's epochs."""
    name = f"fold {fold['fold']}" if "fold" in fold else "training"
    return {"name": name, "png": base64.b64encode(plot_curves(fold["history"])).decode()}


def make_card(
    sample: Sample,
    labels: Labels,
    planes: Planes,
    plane_names: Sequence[str],
    fold: str = "",
    *,
    single: bool = False,
    other: tuple[str, Labels] | None = None,
) -> dict[str, Any]:
    """Turn a sample with its prediction into numbers, and pictures as JSON.

    With `single`, all is one object; `other` is a second prediction to compare with, and its name. A sample without
    labels is shown with its prediction alone.
    """
    parts = {"true": sample.labels, "pred": labels, "other": other[1] if other else None}
    sides = {
        side: (part > 0).astype(np.int32) if single else relabel(part)
        for side, part in parts.items()
        if part is not None
    }
    true = sides.get("true", np.zeros_like(sides["pred"]))
    overlaps = {side: count_overlap(true, sides[side]) for side in sides if side != "true"}
    overlap, image = overlaps["pred"], _fit(stretch(sample.image))
    score, areas_px = score_overlap(overlap), {side: found.areas_pred_px for side, found in overlaps.items()}
    if "true" in sides:
        areas_px["true"] = overlap.areas_true_px
    pictures = {
        "image": _encode_lossless(image),
        "planes": {
            name: _encode_lossless(np.round(255 * _fit(plane)).astype(np.uint8))
            for name, plane in zip(plane_names, planes, strict=True)
        },
        "labels": {side: _encode_labels(_fit(part, smooth=False)) for side, part in sides.items()},
    }
    return {
        "id": sample.id,
        "kind": sample.kind,
        "score": score.mean,
        "gain": score.mean - score_overlap(overlaps.get("other", overlap)).mean,
        "precision": score.precision.tolist(),
        "n_true": overlap.n_true,
        "n_pred": overlap.n_pred,
        "data": {
            "id": sample.id,
            "src": "",
            "fold": fold,
            "kind": sample.kind,
            "size": sample.image.shape[:2],
            "shown": image.shape[:2],
            "against": other[0] if other else "",
            "areas": {side: areas.tolist() for side, areas in areas_px.items()},
            "boxes": {side: _find_boxes(part) for side, part in sides.items()},
            "pairs": {
                side: np.stack([found.true, found.pred, found.shared_px], axis=1).tolist()
                for side, found in overlaps.items()
            },
        },
        "pictures": json.dumps(pictures, separators=(",", ":")).replace("<", "\\u003c"),
    }


def put_beside(card: dict[str, Any], file: Path) -> None:
    """Move a card's pictures from the page into a script beside it, which the page loads when it shows them."""
    card["data"]["src"] = f"{file.parent.name}/{file.name}"
    atomic_write(file, f"takePictures({json.dumps(card['data']['src'])}, {card['pictures']})")
    card["pictures"] = ""


def _fit(picture: NDArray[Any], *, smooth: bool = True) -> NDArray[Any]:
    """Shrink what is larger than the page shows."""
    return resize(picture, MAX_SIDE_PX, smooth=smooth) if max(picture.shape[:2]) > MAX_SIDE_PX else picture


def _find_boxes(labels: Labels) -> list[list[int]]:
    """Return top, left, bottom and right of every instance of dense labels, the ends excluded."""
    return [[y.start, x.start, y.stop, x.stop] for y, x in find_objects(labels)]


def _encode_labels(labels: Labels) -> str:
    """Encode labels as row-major runs (pixels skipped, length, id) of base-128 numbers, in base64."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=0))
    ends = np.append(starts[1:], flat.size)
    starts, ends = starts[flat[starts] > 0], ends[flat[starts] > 0]
    skipped = np.diff(np.stack([np.append(0, ends[:-1])[: starts.size], starts]), axis=0)[0]
    numbers = np.stack([skipped, ends - starts, flat[starts]], axis=1).reshape(-1, 1)
    digits = numbers >> (7 * np.arange(5))
    is_used = (digits > 0) | (np.arange(5) == 0)
    digits = digits & 127
    digits[:, :-1] |= 128 * is_used[:, 1:]  # more digits follow
    return base64.b64encode(digits[is_used].astype(np.uint8).tobytes()).decode()


def _encode_lossless(picture: NDArray[np.uint8]) -> str:
    """Encode a picture as a data URI."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "WEBP", lossless=True, method=4, exact=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def make_class_card(
    sample: Sample, labels: Labels, planes: Planes, score: ClassScore, palette: NDArray[np.uint8], fold: str
) -> dict[str, Any]:
    """Turn a validation sample with its predicted classes, in the colours (256, 3) of a palette, into a card."""
    assert sample.labels is not None
    true, pred = (np.asarray(resize(part, SIDE_PX, smooth=False)) for part in (sample.labels, labels))
    panels = [
        ("image", np.asarray(resize(stretch(sample.image), SIDE_PX), np.uint8)),
        ("truth", palette[true]),
        ("prediction", palette[pred]),
        ("wrong pixels", palette[np.where((true == pred) | (true == IGNORED_CLASS), IGNORED_CLASS, pred)]),
    ]
    panels += [
        (name, heatmap(np.asarray(resize(plane, SIDE_PX), np.float32)))
        for name, plane in zip(score.names, planes, strict=True)
    ]
    return {
        "id": sample.id,
        "fold": fold,
        "kind": sample.kind,
        "shape": f"{sample.image.shape[0]} × {sample.image.shape[1]}",
        "score": score.mean,
        "classes": {row["class"]: row["iou"] for row in score.rows()},
        "pictures": [{"name": name, "png": _encode(picture)} for name, picture in panels],
    }


def _encode(picture: Image) -> str:
    """Encode as PNG of at most 256 colours, in base64."""
    buffer = io.BytesIO()
    reduced = Pillow.fromarray(picture).quantize(256, Pillow.Quantize.FASTOCTREE, dither=Pillow.Dither.NONE)
    reduced.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _totals(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum over all samples; bars are counts of scores in ten steps."""
    scores = np.array([card["score"] for card in cards])
    counts = np.histogram(scores, bins=10, range=(0, 1))[0]
    return {
        "n": len(cards),
        "has_truth": all("true" in card["data"]["areas"] for card in cards if "data" in card),
        "mean": float(scores.mean()) if len(cards) else 0.0,
        "median": float(np.median(scores)) if len(cards) else 0.0,
        **{key: sum(card.get(key, 0) for card in cards) for key in ("n_true", "n_pred")},
        "precision": np.mean([card["precision"] for card in cards], axis=0).tolist()
        if cards and "precision" in cards[0]
        else [],
        "bars": counts.tolist(),
        "highest": max(1, int(counts.max())),
    }


def _by_kind(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count and score every image type; empty where there is only one."""
    kinds = sorted({card["kind"] for card in cards})
    groups = [[card for card in cards if card["kind"] == kind] for kind in kinds]
    return [
        {"kind": kind or "(none)", **_totals(group)}
        for kind, group in zip(kinds, groups, strict=True)
        if len(kinds) > 1
    ]
