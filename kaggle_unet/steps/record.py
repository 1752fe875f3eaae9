"""What is needed to repeat a step: versions, commit, command, device."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
