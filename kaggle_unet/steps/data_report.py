"""What is found in a set of samples: a description, and reasons to doubt its masks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.folds import coverage_class
from kaggle_unet.data.mosaic import Edges, cut_edges
from kaggle_unet.masks.labels import areas_px, object_diameter_px
from kaggle_unet.types import DataIssue, Sample, Shape

_FEWEST_PX = 4  # of the median object; a nucleus or cell at any useful scale has more
_WORST_ROUND_TRIP = 0.9  # score with a codec that has borders; real nuclei reach 0.99


class DataReport(TypedDict, total=False):
    """What was found in a set, as ``report.json`` holds it."""

    samples: int
    instances: int
    classes: dict[str, int]  # pixels, instead of instances
    without_instances: int
    instances_per_sample: dict[str, float]  # by quantile, like the next two
    area_px: dict[str, float]
    object_px: dict[str, float]
    sizes: dict[str, int]
    kinds: dict[str, int]
    oddities: list[dict[str, Any]]  # data issues, by kind
    ceiling: float  # mean round-trip score
    faulty: list[str]
    weights: dict[str, Any]
    folds: dict[str, Any]
    confidence: dict[str, Any]  # of pseudo-labels only


@dataclass(frozen=True)
class SampleStats:
    """What a set's description, folds and mosaics need of a sample: a few kilobytes, without its arrays."""

    id: str
    kind: str
    shape: Shape
    areas_px: NDArray[np.int64]
    coverage: str
    class_px: NDArray[np.int64]  # by class; empty for instances
    edges: Edges
    data_issues: tuple[DataIssue, ...]
    round_trip_score: float  # of the decoded targets against the labels: what a perfect network would get


def measure_sample(sample: Sample, round_trip_score: float = float("nan"), classes: Sequence[str] = ()) -> SampleStats:
    """Measure a sample, of instances or `classes`, while its arrays are in memory."""
    assert sample.labels is not None
    class_px = np.bincount(sample.labels.ravel(), minlength=len(classes))[: len(classes)]
    return SampleStats(
        id=sample.id,
        kind=sample.kind,
        shape=sample.labels.shape,
        areas_px=np.zeros(0, dtype=np.int64) if classes else areas_px(sample.labels)[1:],
        class_px=class_px,
        coverage=coverage_class(sample.labels, semantic=bool(classes)),
        edges=cut_edges(sample.image),
        data_issues=sample.data_issues,
        round_trip_score=round_trip_score,
    )


def describe_set(
    stats: Sequence[SampleStats], data_issues: Iterable[DataIssue], classes: Sequence[str] | None = None
) -> DataReport:
    """Describe a set of samples."""
    class_px = np.sum([sample.class_px for sample in stats], axis=0).tolist() if classes else []
    counts = [len(sample.areas_px) for sample in stats]
    return {
        "samples": len(stats),
        "instances": int(sum(counts)),
        "classes": dict(zip(classes or (), class_px, strict=True)),
        "instances_per_sample": _quantiles(counts),
        "area_px": _quantiles(np.concatenate([*(sample.areas_px for sample in stats), np.zeros(0)])),
        "object_px": _quantiles([px for sample in stats if (px := object_diameter_px(sample.areas_px))]),
        "sizes": dict(Counter(f"{sample.shape[1]}×{sample.shape[0]}" for sample in stats).most_common()),
        "kinds": dict(Counter(sample.kind for sample in stats).most_common()),
        "without_instances": counts.count(0),
        "oddities": _summarise([*data_issues, *(issue for sample in stats for issue in sample.data_issues)]),
        "ceiling": float(np.mean([sample.round_trip_score for sample in stats])) if stats else 1.0,
    }


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    marks = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
    return {name: float(np.percentile(values, mark)) for name, mark in marks.items()}


def _summarise(data_issues: Iterable[DataIssue]) -> list[dict[str, Any]]:
    table: dict[tuple[str, str], list[DataIssue]] = {}
    for issue in data_issues:
        table.setdefault((issue.kind, issue.action), []).append(issue)
    return [
        {
            "what": what,
            "samples": len(found),
            "count": sum(issue.count for issue in found),
            "done": done,
            "example": found[0].sample,
        }
        for (what, done), found in sorted(table.items(), key=lambda item: -len(item[1]))
    ]


def find_mask_problem(report: Mapping[str, Any], codec: str) -> str | None:
    """Return what is doubtful about a set's masks, judging by its data report, or None."""
    n, score = report["instances"], report["ceiling"]
    if n and report["area_px"]["median"] < _FEWEST_PX:
        return (
            f"half of the {n} objects have under {_FEWEST_PX} pixels, as the halos of a JPEG have, or labels that were "
            "resized with interpolation; save masks as PNG, and resize them by the nearest pixel"
        )
    if n and codec != "mask" and score < _WORST_ROUND_TRIP:
        found = {row["what"]: row["count"] for row in report["oddities"]}
        why = "objects are thinner than the borders between them (codec.border), or cross each other"
        if found.get("instances in several pieces", 0) * 2 > n:
            why = "most objects are in several pieces, so perhaps their numbers are classes (competition.masks_are)"
        elif found.get("instances with holes", 0) * 2 > n:
            why = "most objects have holes, so perhaps the masks are inverted (competition.foreground: 0)"
        return f"encoded and decoded again, the masks score {score:.4f} against themselves; {why}"
    return None
