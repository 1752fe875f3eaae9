"""Masks that are probably not what they seem, and why: a network trained on them would learn nothing."""

from collections.abc import Mapping
from typing import Any

_FEWEST_PX = 4  # of half of the objects; a nucleus or cell at any useful scale has more
_WORST_ROUND_TRIP = 0.9  # of a codec with borders; real nuclei reach 0.99


def find_doubt(report: Mapping[str, Any], codec: str) -> str | None:
    """Say what is doubtful about the masks of a set, by its data report."""
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
