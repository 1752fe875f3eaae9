"""A CSV with its manifest beside it: held against the rules before it gets its name, and said where it comes from.

What is needed to repeat a step: versions, commit, command, device.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kaggle_unet.competitions.competition import Competition, Source
from kaggle_unet.competitions.submission import check_submission, write_submission
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import split_location
from kaggle_unet.store import atomic_write, sha256
from kaggle_unet.types import Labels

PACKAGES = (
    "kaggle-unet", "torch", "torchvision", "lightning-fabric", "segmentation-models-pytorch", "timm", "albumentations",
    "opencv-python-headless", "numpy", "scipy", "scikit-image", "numba",
)  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Describe what this process runs on."""
    return {
        "command": [Path(sys.argv[0]).name, *map(_without_place, sys.argv[1:])],
        "commit": _git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := _version_of(name))},
    }


def _without_place(argument: str) -> str:
    """Keep of a path outside the working folder only its name: where it lies on one machine helps nobody."""
    option, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    path = Path(value)
    return option + equals + (path.name if path.is_absolute() or ".." in path.parts else value)


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


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
    write_submission(rejected, labels, competition.name)
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
    path, place = split_location(data)
    return {"name": f"{path.name}:{place}" if place else path.name, "fingerprint": source.fingerprint()}
