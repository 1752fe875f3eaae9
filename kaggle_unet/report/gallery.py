"""The report: one HTML file for browsing images with their labels, predictions, errors, targets and scores.

The file is self-contained: it holds images (of up to 2048 pixels a side), planes, labels and the overlaps of all
objects as data, which the scripts of `page/` score and draw. A security policy in its head forbids requests.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from kaggle_unet.report.draw import resize, stretch
from kaggle_unet.store.atomic import atomic_write
from kaggle_unet.types import DataFrame, Labels, Sample

MAX_SIDE_PX = 2048  # larger images are shrunk in the page
SCRIPTS = ("scores.js", "viewer.js", "objects.js", "browser.js")
TABLES = ("classes", "areas", "fixed", "thresholds")
PAIRS = {"pred": ("true", "pred"), "other": ("true", "other"), "both": ("pred", "other")}  # sides whose objects overlap
Card = dict[str, Any]
Layers = Mapping[str, NDArray[np.floating]]
NONE: Mapping[str, Any] = MappingProxyType({})


def render_report(
    title: str,
    stats: Mapping[str, object],
    folds: Sequence[Mapping[str, Any]],
    cards: Iterable[Card],
    tables: Mapping[str, DataFrame] = NONE,
    plots: Mapping[str, bytes] = NONE,
    legend: Mapping[str, str] = NONE,
) -> str:
    """Render cards as one HTML page, worst first and equals by id, with any of `TABLES`, and plots (SVG or PNG).

    `legend` gives the colours of classes. Values of several lines are folded up. All text is escaped.
    """
    cards = sorted(cards, key=lambda card: (card["score"], card["id"]))
    environment = Environment(
        loader=PackageLoader("kaggle_unet.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    data = _describe_images(cards, legend)
    return environment.get_template("report.html").render(
        title=title,
        stats=stats,
        columns=list(dict.fromkeys(key for fold in folds for key in fold)),
        folds=folds,
        cards=cards,
        sides={side for card in cards for side in card["sides"]},
        data=data,
        pictures=[Markup(card["pictures"]) for card in cards],
        scripts=[_read_page_file(name) for name in SCRIPTS],
        style=_read_page_file("style.css"),
        other=data["other"],
        totals=_totals(cards),
        legend=legend,
        kinds=_by_kind(cards),
        **{name: tables[name].to_dict("records") if name in tables else [] for name in TABLES},
        plots={name: _to_uri(plot, "png" if plot[:1] == b"\x89" else "svg+xml") for name, plot in plots.items()},
        ious=[f"{k / 20:.2f}" for k in THRESHOLDS_TWENTIETHS],
    )


def _describe_images(cards: Sequence[Card], legend: Mapping[str, str]) -> dict[str, Any]:
    """Collect the data for the scripts: all numbers of the images, and the layers and classes that they have."""
    names = {part: list(dict.fromkeys(name for card in cards for name in card[part])) for part in ("planes", "weights")}
    sides = {side for card in cards for side in card["sides"]}
    of_classes = [f"{word} classes" for side, word in (("true", "true"), ("pred", "predicted")) if side in sides]
    return names | {
        "images": [card["data"] for card in cards],
        "other": next((card["against"] for card in cards), ""),
        "classes": [{"name": name, "colour": colour} for name, colour in legend.items()],
        "high": max((card["data"]["high"] for card in cards), default=0),
        "layers": ["image", *names["planes"], *names["weights"], *(of_classes if legend else [])],
    }


def _read_page_file(name: str) -> Markup:
    return Markup((files("kaggle_unet.report") / "page" / name).read_text(encoding="utf-8"))


def _to_uri(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def make_card(
    sample: Sample,
    labels: Labels | None = None,
    planes: Layers = NONE,
    fold: str = "",
    *,
    weights: Layers = NONE,
    single: bool = False,
    other: tuple[str, Labels] | None = None,
) -> Card:
    """Turn a sample, with or without a prediction, into numbers, and pictures as JSON.

    `planes` (0 to 1) and `weights` are layers by name. With `single`, everything is one object; `other` is a second
    prediction to compare with: its name and labels.
    """
    parts = {"true": sample.labels, "pred": labels, "other": other[1] if other else None}
    sides = {
        side: (part > 0).astype(np.int32) if single else relabel(part)
        for side, part in parts.items()
        if part is not None
    }
    overlaps = {name: count_overlap(sides[a], sides[b]) for name, (a, b) in PAIRS.items() if {a, b} <= sides.keys()}
    scores = {name: score_overlap(overlaps[name]) for name in ("pred", "other") if name in overlaps}
    areas = {side: np.bincount(part.ravel())[1:].tolist() for side, part in sides.items()}
    # top, left, bottom and right of every object, the ends excluded
    boxes = {side: [[y.start, x.start, y.stop, x.stop] for y, x in find_objects(part)] for side, part in sides.items()}
    pairs = {name: np.stack([one.true, one.pred, one.shared_px], axis=1).tolist() for name, one in overlaps.items()}
    numbers = {"fold": fold, "areas": areas, "boxes": boxes, "pairs": pairs}
    return _show(sample, sides, planes, weights, numbers) | {
        "against": other[0] if other else "",
        "score": scores["pred"].mean if scores else 0.0,
        "gain": scores["pred"].mean - scores["other"].mean if other else 0.0,
        "precision": scores["pred"].precision.tolist() if scores else [],
        **{f"n_{side}": len(areas[side]) for side in ("true", "pred") if side in areas},
    }


def make_class_card(
    sample: Sample, labels: Labels | None, score: ClassScore, planes: Layers, fold: str, *, weights: Layers = NONE
) -> Card:
    """Turn a sample of classes, with or without a prediction, into a card; without one, `score` counts the truth."""
    assert sample.labels is not None
    sides = {"true": sample.labels} | ({} if labels is None else {"pred": labels})
    numbers = {"fold": fold, "confusion": score.confusion.tolist()}
    return _show(sample, sides, planes, weights, numbers) | {
        "against": "",
        "score": 0.0 if labels is None else score.mean,
    }


def _show(
    sample: Sample, sides: Mapping[str, Labels], planes: Layers, weights: Layers, numbers: Mapping[str, Any]
) -> Card:
    """Encode what is seen of a sample; planes are kept in whole hundredths, so that such thresholds are exact."""
    image, highs = _fit(stretch(sample.image)), {name: float(values.max(initial=0)) for name, values in weights.items()}
    hundredths = {name: np.floor(100 * _fit(plane) + 1e-6) for name, plane in planes.items()}
    levels = {name: np.round(_fit(values) / (highs[name] or 1) * 255) for name, values in weights.items()}
    pictures = {
        "image": _encode_lossless(image),
        "planes": {name: [_encode_lossless(plane), 0.01] for name, plane in hundredths.items()},
        "weights": {name: [_encode_lossless(values), highs[name] / 255] for name, values in levels.items()},
        "labels": {side: _encode_labels(_fit(part, smooth=False)) for side, part in sides.items()},
    }
    return {
        "id": sample.id,
        "kind": sample.kind,
        "planes": list(planes),
        "weights": list(weights),
        "sides": list(sides),
        "data": {
            "id": sample.id,
            "src": "",
            "kind": sample.kind,
            "size": sample.image.shape[:2],
            "shown": image.shape[:2],
            "issues": [f"{issue.kind}: {issue.count}, {issue.action}" for issue in sample.data_issues],
            "high": max(highs.values(), default=0),
            **numbers,
        },
        "pictures": json.dumps(pictures, separators=(",", ":")).replace("<", "\\u003c"),
    }


def move_pictures_out(card: Card, file: Path) -> None:
    """Move a card's pictures from the page into a script beside it, which the page loads when it shows them."""
    card["data"]["src"] = f"{file.parent.name}/{file.name}"
    atomic_write(file, f"takePictures({json.dumps(card['data']['src'])}, {card['pictures']})")
    card["pictures"] = ""


def _fit(picture: NDArray[Any], *, smooth: bool = True) -> NDArray[Any]:
    """Shrink a picture if it is larger than the page shows."""
    return resize(picture, MAX_SIDE_PX, smooth=smooth) if max(picture.shape[:2]) > MAX_SIDE_PX else picture


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


def _encode_lossless(picture: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    Pillow.fromarray(picture.astype(np.uint8)).save(buffer, "WEBP", lossless=True, method=4, exact=True)
    return _to_uri(buffer.getvalue(), "webp")


def _totals(cards: Sequence[Card]) -> dict[str, Any]:
    """Sum over all samples; bars are counts of scores in ten bins."""
    scores = np.array([card["score"] for card in cards])
    bins = np.minimum(10 * scores + 1e-9, 9).astype(int)  # 0.3 begins a bin, whatever its last bit
    counts, first = np.bincount(bins, minlength=10), cards[0] if cards else {}
    return {
        "n": len(cards),
        "scored": bool(cards) and all({"true", "pred"} <= {*card["sides"]} for card in cards),
        "mean": float(scores.mean()) if cards else 0.0,
        "median": float(np.median(scores)) if cards else 0.0,
        **{key: sum(card[key] for card in cards) if key in first else None for key in ("n_true", "n_pred")},
        "precision": np.mean([card["precision"] for card in cards], axis=0).tolist() if first.get("precision") else [],
        "bars": counts.tolist(),
        "highest": max(1, int(counts.max())),
    }


def _by_kind(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Count and score every image type; return nothing if there is only one."""
    kinds = sorted({card["kind"] for card in cards})
    if len(kinds) < 2:
        return []
    return [{"kind": kind or "(none)", **_totals([card for card in cards if card["kind"] == kind])} for kind in kinds]
