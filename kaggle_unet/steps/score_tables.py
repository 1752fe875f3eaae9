"""Scores as tables: a row per image, and a row per true or predicted object with its best partner."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.io.tables import to_csv
from kaggle_unet.steps.score import Scored
from kaggle_unet.store import atomic_write
from kaggle_unet.types import Overlap


def write_score_tables(path: Path, scored: Sequence[Scored]) -> Path:
    """Write the table of images, and that of objects beside it as ``<name>_objects.csv``, whose path is returned."""
    from pandas import DataFrame

    images = [
        {
            "id": image.id,
            **image.parts,
            "score": image.score.mean,
            "precision_50": image.score.precision[0],
            "precision_75": image.score.precision[5],
            "true_objects": image.overlap.n_true,
            "predicted_objects": image.overlap.n_pred,
        }
        for image in scored
    ]
    objects = path.with_name(f"{path.stem}_objects.csv")
    columns = ["id", "side", "object", "area_px", "partner", "iou"]
    rows = [{"id": image.id, **row} for image in scored for row in _list_objects(image.overlap)]
    atomic_write(path, to_csv(DataFrame(images)))
    atomic_write(objects, to_csv(DataFrame(rows, columns=columns).astype({"partner": "Int64"})))
    return objects


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
