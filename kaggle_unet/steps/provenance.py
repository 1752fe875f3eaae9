"""Provenance: what is needed to repeat a step, and a CSV with a manifest that says where it came from."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
    option, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + name_place(value)


def name_place(text: str) -> str:
    """Name a path as it was given, a place inside a zip included.

    Outside the working folder only the last part is kept, with the run and fold of a checkpoint: where files lie on one
    machine helps nobody.
    """
    try:
        path, inside = split_location(text)
    except DataError:  # not there yet, or no path
        path, inside = Path(text), ""
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if path.is_absolute() or ".." in path.parts:
        is_fold = re.fullmatch(r"fold\d+", path.name)
        path = Path(*path.parts[-3 if path.suffix == ".safetensors" else -2 if is_fold else -1 :])
    return f"{path}:{inside}" if inside else str(path)


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
        msg = f"-o {output}: expected the path of a file that ends in .csv; its manifest will end in .json"
        raise ConfigError(msg)


@dataclass(frozen=True)
class Submission:
    """A CSV that was written."""

    path: Path
    images: int
    objects: int
    blank: int
    slug: str
    how: str
    warnings: list[str]


def write_checked(
    output: Path,
    competition: Competition,
    labels: Mapping[str, Labels],
    shapes: Mapping[str, tuple[int, int]],
    *,
    black: Collection[str],
    how: str,
    manifest: Mapping[str, Any],
) -> Submission:
    """Write a CSV with its manifest, and give it its name only if it keeps every rule."""
    rejected = output.with_suffix(".rejected.csv")
    write_submission(rejected, labels, competition.name)
    errors, warnings = check_submission(rejected, competition, shapes, black=black)
    if errors:
        msg = f"{rejected}: breaks {len(errors)} rules of {competition.name}; this is a bug in kaggle-unet"
        raise DataError(msg, errors)
    rejected.replace(output)
    warnings = [*manifest["warnings"], *warnings]
    counts = {
        "images": len(labels),
        "objects": int(sum(label.max(initial=0) for label in labels.values())),
        "blank": sum(not label.any() for label in labels.values()),
    }
    slug = SLUGS[competition.name]
    about = {"csv": output.name, "sha256": sha256(output), "slug": slug, **counts, **manifest, "warnings": warnings}
    about["environment"] = describe_environment()
    atomic_write(output.with_suffix(".json"), json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return Submission(output, **counts, slug=slug, how=how, warnings=warnings)


def describe_data(data: str, source: Source) -> dict[str, str]:
    """Describe the data without saying where they lie on this machine."""
    return {"name": name_place(data), "fingerprint": source.fingerprint()}
