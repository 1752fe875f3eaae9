"""A CSV with its manifest beside it: held against the rules before it gets its name, and said where it comes from."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kaggle_unet.competitions.archive import split_place
from kaggle_unet.competitions.check import check_submission
from kaggle_unet.competitions.competition import Competition, Source
from kaggle_unet.competitions.submission import write_submission
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.store import atomic_write, sha256
from kaggle_unet.types import Labels

SLUGS = {"dsb2018": "data-science-bowl-2018", "tgs": "tgs-salt-identification-challenge", "folder": ""}


def refuse_output(output: Path) -> None:
    """Refuse a path that cannot be a CSV with a manifest beside it."""
    if output.suffix != ".csv" or output.is_dir():
        msg = f"-o {output}: wanted the path of a file that ends in .csv; its manifest will end in .json"
        raise ConfigError(msg)


def write_checked(
    output: Path,
    competition: Competition,
    labels: Mapping[str, Labels],
    shapes: Mapping[str, tuple[int, int]],
    *,
    black: Collection[str],
) -> list[str]:
    """Write a CSV, and give it its name only if it keeps every rule."""
    rejected = output.with_suffix(".rejected.csv")
    write_submission(rejected, competition, labels)
    errors, warnings = check_submission(rejected, competition, shapes, black=black)
    if errors:
        msg = f"{rejected}: breaks {len(errors)} rules of {competition.name}; this is a fault of kaggle-unet"
        raise DataError(msg, errors)
    rejected.replace(output)
    return warnings


def write_manifest(output: Path, manifest: Mapping[str, Any]) -> None:
    """Write what is known of a CSV beside it."""
    atomic_write(output.with_suffix(".json"), json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def describe_csv(output: Path, competition: Competition, labels: Mapping[str, Labels]) -> dict[str, Any]:
    """Describe a CSV that was written."""
    return {
        "csv": output.name,
        "sha256": sha256(output),
        "slug": SLUGS[competition.name],
        "images": len(labels),
        "objects": int(sum(label.max(initial=0) for label in labels.values())),
        "blank": sum(not label.any() for label in labels.values()),
    }


def describe_data(data: str, source: Source) -> dict[str, str]:
    """Describe the data without saying where they lie on this machine."""
    path, place = split_place(data)
    return {"name": f"{path.name}:{place}" if place else path.name, "fingerprint": source.fingerprint()}
