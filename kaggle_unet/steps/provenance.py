"""Provenance: what a step ran on and how it was called; and `doctor`, which checks that the packages fit together."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import split_location

PACKAGES = (
    "kaggle-unet", "torch", "torchvision", "lightning-fabric", "segmentation-models-pytorch", "timm", "albumentations",
    "opencv-python-headless", "numpy", "scipy", "scikit-image", "numba", "onnxruntime",
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
    """Return the commit, with a + where files have changed since; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).resolve().parents[2])]
    try:
        commit, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")


REMEDIES = {
    "torch": "install it from the same index as torchvision",
    "torchvision": "torch and torchvision must come from one index; install both again together",
    "cv2": "keep opencv-python-headless alone: uninstall every opencv package, then install that one",
    "segmentation_models_pytorch": "run scripts/setup again",
    "albumentations": "run scripts/setup again",
}
SAFE_TORCH = (2, 10)  # below it reading a weights file can corrupt memory, even with weights_only: CVE-2026-24747


def examine() -> dict[str, Any]:
    """Import what must fit together and describe the machine."""
    refuse_unsafe_torch(version("torch"))
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    for name, remedy in REMEDIES.items():
        try:
            import_module(name)
        except (ImportError, RuntimeError, OSError) as error:
            msg = f"{name} cannot be imported ({error}); {remedy}"
            raise ConfigError(msg) from error
    from kaggle_unet.training.device import select_device

    device_config = select_device("auto", "auto")
    disk = shutil.disk_usage(".")
    return {
        **describe_environment(),
        "cores": os.cpu_count(),
        "device": device_config.device,
        "training computes in": device_config.text,
        "free disk": f"{disk.free / 2**30:.0f} GiB",
    }


def refuse_unsafe_torch(installed: str) -> None:
    """Refuse a torch that an encoder's weights file could harm.

    >>> refuse_unsafe_torch("2.15.0+cu132")
    >>> refuse_unsafe_torch("2.9.1")
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.ConfigError: torch 2.9.1 is older than 2.10: a file of encoder weights could corrupt ...
    """
    if tuple(map(int, re.findall(r"\d+", installed)[:2])) < SAFE_TORCH:
        wanted = ".".join(map(str, SAFE_TORCH))
        msg = f"torch {installed} is older than {wanted}: a file of encoder weights could corrupt its memory "
        raise ConfigError(f"{msg}(CVE-2026-24747); install torch>={wanted}, and torchvision with it")
