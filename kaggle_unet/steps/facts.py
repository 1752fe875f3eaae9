"""What is known of each sample once its pixels are gone, and what that says about a set.

A set's description, its folds and its seams need some kilobytes of each sample; they are taken while its arrays are at
hand, so that no sample is read twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.folds import coverage_class
from kaggle_unet.data.seams import Edges, cut_edges
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.postprocess.size import object_diameter_px
from kaggle_unet.types import Oddity, Sample


@dataclass(frozen=True)
class Facts:
    """A sample without its arrays."""

    id: str
    kind: str
    shape: tuple[int, int]
    areas_px: NDArray[np.int64]
    coverage: str
    edges: Edges
    oddities: tuple[Oddity, ...]
    ceiling: float


def take_facts(sample: Sample, *, ceiling: float = float("nan")) -> Facts:
    """Take what will be needed of a sample."""
    assert sample.labels is not None
    return Facts(
        id=sample.id,
        kind=sample.kind,
        shape=sample.labels.shape,
        areas_px=areas_px(sample.labels)[1:],
        coverage=coverage_class(sample.labels),
        edges=cut_edges(sample.image),
        oddities=sample.oddities,
        ceiling=ceiling,
    )


def describe_set(facts: Sequence[Facts], oddities: Iterable[Oddity]) -> dict[str, Any]:
    """Describe a set."""
    counts = [len(one.areas_px) for one in facts]
    return {
        "samples": len(facts),
        "instances": int(sum(counts)),
        "instances_per_sample": _quantiles(counts),
        "area_px": _quantiles(np.concatenate([*(one.areas_px for one in facts), np.zeros(0)])),
        "object_px": _quantiles([px for one in facts if (px := object_diameter_px(one.areas_px))]),
        "sizes": dict(Counter(f"{one.shape[1]}×{one.shape[0]}" for one in facts).most_common()),
        "kinds": dict(Counter(one.kind for one in facts).most_common()),
        "without_instances": counts.count(0),
        "oddities": _summarise([*oddities, *(oddity for one in facts for oddity in one.oddities)]),
        "ceiling": float(np.mean([one.ceiling for one in facts])) if facts else 1.0,
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
