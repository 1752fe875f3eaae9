"""The gallery: one HTML file with a run's scores, folds, curves, and every prediction beside its truth, worst first.

The file is self-contained, without scripts: pictures are embedded as PNGs, styles too. It follows the reader's light or
dark mode and can be printed.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image as Pillow

from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.pixels import ClassScore
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS, ImageScore
from kaggle_unet.report.draw import colour_labels, draw_outlines, heatmap, resize, stretch
from kaggle_unet.report.plots import plot_curves, plot_thresholds
from kaggle_unet.types import IGNORED_CLASS, Image, Labels, Planes, Sample

if TYPE_CHECKING:
    from pandas import DataFrame

# Longer side of each picture: 600 samples then make a file of some 50 MB.
SIDE_PX = 256


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
        loader=PackageLoader("kaggle_unet.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        title=title,
        stats=stats,
        columns=list(dict.fromkeys(key for fold in folds for key in fold if key != "history")),
        folds=folds,
        curves=[_curve(fold) for fold in folds if fold.get("history")],
        cards=cards,
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


def _rows(table: "DataFrame | None") -> Sequence[Mapping[Any, Any]]:
    return [] if table is None else table.to_dict("records")


def _curve(fold: Mapping[str, Any]) -> dict[str, str]:
    """Plot a fold's epochs."""
    name = f"fold {fold['fold']}" if "fold" in fold else "training"
    return {"name": name, "png": base64.b64encode(plot_curves(fold["history"])).decode()}


def make_card(
    sample: Sample, labels: Labels, planes: Planes, plane_names: Sequence[str], score: ImageScore, fold: str = ""
) -> dict[str, Any]:
    """Turn a validation sample with its prediction into numbers and pictures."""
    assert sample.labels is not None, f"sample {sample.id!r} has no labels, so it cannot be reported"
    return {
        "id": sample.id,
        "fold": fold,
        "kind": sample.kind,
        "shape": f"{sample.image.shape[0]} × {sample.image.shape[1]}",
        "score": score.mean,
        "precision": [float(value) for value in score.precision],
        "n_true": int(score.tp[0] + score.fn[0]),
        "n_pred": int(score.tp[0] + score.fp[0]),
        "tp": int(score.tp[0]),
        "missed": int(score.fn[0]),
        "extra": int(score.fp[0]),
        "tp_75": int(score.tp[5]),
        "fp_75": int(score.fp[5]),
        "fn_75": int(score.fn[5]),
        "pictures": _pictures(sample.image, sample.labels, labels, dict(zip(plane_names, planes, strict=True))),
    }


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


def _pictures(
    image: Image, true: Labels, pred: Labels, planes: Mapping[str, NDArray[np.float32]]
) -> list[dict[str, str]]:
    """Make the pictures of outlines, truth, prediction and planes, in this order."""
    image = np.asarray(resize(stretch(image), SIDE_PX), np.uint8)
    partners, missed = _with_ids_of_partners(true, pred)
    small_true, small_pred, small_partners = (
        np.asarray(resize(labels, SIDE_PX, smooth=False), np.int32) for labels in (true, pred, partners)
    )
    extra = np.arange(int(true.max(initial=0)) + 1, int(partners.max(initial=0)) + 1)
    panels = [
        ("image", draw_outlines(image, small_true, small_pred)),
        ("truth", colour_labels(small_true, white=missed)),
        ("prediction", colour_labels(small_partners, white=extra)),
    ]
    for name, plane in planes.items():
        panels.append((name, heatmap(np.asarray(resize(plane, SIDE_PX), np.float32))))
    return [{"name": name, "png": _encode(picture)} for name, picture in panels]


def _with_ids_of_partners(true: Labels, pred: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """Assign predicted instances the id of their true partner (IoU above 1/2), or ids above all true ones.

    Also return the true ids without a partner.
    """
    overlap = count_overlap(true, pred)
    hits = 2 * overlap.shared_px > overlap.union_px
    true_ids, pred_ids = (np.unique(labels[labels > 0]).astype(np.int64) for labels in (true, pred))
    table = np.arange(int(pred.max(initial=0)) + 1) + int(true.max(initial=0))
    table[0] = 0
    table[pred_ids[overlap.pred[hits]]] = true_ids[overlap.true[hits]]
    return table.astype(np.int32)[pred], np.delete(true_ids, overlap.true[hits])


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
        "mean": float(scores.mean()) if len(cards) else 0.0,
        "median": float(np.median(scores)) if len(cards) else 0.0,
        **{key: sum(card.get(key, 0) for card in cards) for key in ("n_true", "n_pred", "missed", "extra")},
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
