"""Scores as tables: a row per image, and a row per true or predicted object with its best partner, or per class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.io.tables import to_csv
from kaggle_unet.metrics.pixels import ClassScore
from kaggle_unet.steps.score import Scored
from kaggle_unet.store import atomic_write
from kaggle_unet.types import Overlap


def write_score_tables(path: Path, scored: Sequence[Scored]) -> Path:
    """Write the table of images, and beside it that of objects or classes, ``<name>_objects.csv``; return its path."""
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
    """Yield all objects of both sides; the partner is the object of the other side with the highest IoU."""
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
