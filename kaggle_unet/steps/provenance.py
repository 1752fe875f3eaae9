"""Provenance: what a step ran on and how it was called; and `doctor`, which checks that the packages fit together."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import split_location
from kaggle_unet.store import find_differences, write_record
from kaggle_unet.store.atomic import try_to_write

PACKAGES = (
    "kaggle-unet", "torch", "torchvision", "lightning-fabric", "segmentation-models-pytorch", "timm", "albumentations",
    "opencv-python-headless", "numpy", "scipy", "scikit-image", "numba", "onnxruntime",
)  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Describe what this process runs on and how it was called."""
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "command": [Path(sys.argv[0]).name, *map(_without_place, sys.argv[1:])],
        "commit": _git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages,
    }


def refuse_mixture(record: Path, before: Any, used: Any, names: Iterable[str]) -> None:
    """Refuse a folder whose record differs from `used`, or that has no record but files that are not ours."""
    folder = record.parent
    if before is not None and (changed := ", ".join(key for key, _, _ in find_differences(before, used))):
        msg = f"{folder} holds results that were made otherwise ({changed} differ); give another -o, or delete it to "
        raise ConfigError(f"{msg}segment anew")
    refuse_foreign(record, (folder / name for name in names))


def refuse_foreign(record: Path, files: Iterable[Path]) -> None:
    """Refuse to write files over existing ones that are not ours: the record, which we write first, is missing."""
    for file in files if not record.exists() else ():
        if file.exists() and not record.exists():  # in this order: another shard may have just begun
            msg = f"{file} is there but no {record.name}: kaggle-unet did not write it; give another output"
            raise ConfigError(msg)


def claim_folder(folder: Path, verb: str, files: Iterable[Path]) -> None:
    """Refuse a folder that has somebody else's files of these names; a hidden record marks ours."""
    record = folder / f".{verb}.json"
    refuse_foreign(record, files)
    write_record(record, {"results of": f"kaggle-unet {verb}"})


def refuse_file(path: Path, suffix: str, *marks: bytes) -> None:
    """Refuse a path without this suffix, a file in whose head no mark shows that it is ours, and a full disk."""
    if path.suffix != suffix or path.is_dir():
        raise ConfigError(f"{path}: expected the path of a file that ends in {suffix}; give another path")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(1000)
        if not any(mark in head for mark in marks):
            raise ConfigError(f"{path} is there, and is none of what is written here; give another path, or remove it")
    try_to_write(path)


def refuse_in_run(path: Path) -> None:
    """Refuse to write into a run, where the file might pass for one of its own."""
    for folder in (path, *path.absolute().parents):
        if (folder / "run.json").is_file():
            raise ConfigError(f"{path} is in the run {folder}, whose own files it would mix with; give another path")


def _without_place(argument: str) -> str:
    option, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + name_place(value)


def name_place(text: str) -> str:
    """Return a path as it was given, including a place inside a zip.

    Outside the working folder only the last part is kept, with the run and fold of a checkpoint: where files lie on one
    machine helps nobody.
    """
    try:
        path, inside = split_location(text)
    except DataError:  # not there yet, or not a path
        path, inside = Path(text), ""
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if path.is_absolute() or ".." in path.parts:
        is_fold = re.fullmatch(r"fold\d+", path.name)
        path = Path(*path.parts[-3 if path.suffix == ".safetensors" else -2 if is_fold else -1 :])
    return f"{path}:{inside}" if inside else str(path)


def _git_commit() -> str | None:
    """Return the commit, with a + if files have changed since; None outside a repository."""
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
# What each extra that a user may want is for, and the modules that it brings.
EXTRAS = {
    "tune": ("the verb tune", "optuna"),
    "second-level": ("the verb second-level", "lightgbm"),
    "onnx": ("the verb export, and exported files", "onnx onnxruntime"),
    "formats": ("compressed TIFFs, masks in COCO's RLE, selections of ImageJ", "imagecodecs pycocotools roifile"),
    "track": ("train --track", "tensorboard"),
    "ray": ("launch --executor ray", "ray"),
}
# Less than this may be too little for a small training; and what to do then.
LEAST_FREE = {
    "memory": (2 << 30, "end other programs, or lower training.batch and augmentation.crop_px"),
    "disk": (2 << 30, "delete old runs and stores, or work in a folder on another disk"),
}
INSTALL = ".venv/bin/pip install -e '.[{}]'"
SAFE_TORCH = (2, 10)  # below it, reading a weights file can corrupt memory, even with weights_only: CVE-2026-24747


def examine() -> dict[str, Any]:
    """Import what must fit together, describe the machine, and list what to fix, beginning with what must be fixed."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    broken = [fault for fault in map(_find_fault, REMEDIES) if fault]
    free = {"memory": _free_memory(), "disk": shutil.disk_usage(".").free}
    found = {**describe_environment(), "cores": os.cpu_count()}
    found |= {f"free {what}": f"{size / 2**30:.1f} GiB" for what, size in free.items() if size is not None}
    scarce = [
        f"less than {least >> 30} GiB of {what} are free; {cure}"
        for what, (least, cure) in LEAST_FREE.items()
        if (size := free[what]) is not None and size < least
    ]
    if not broken:
        from kaggle_unet.training.device import select_device

        device_config = select_device("auto", "auto")
        found |= {"device": device_config.device, "training computes in": device_config.text}
        if device_config.device == "cpu" and shutil.which("nvidia-smi"):
            scarce.append("torch sees no GPU, though there is an NVIDIA driver; install a torch for its CUDA version")
    found["extras"] = {
        extra: "installed" if all(map(find_spec, modules.split())) else f"missing, for {use}: {INSTALL.format(extra)}"
        for extra, (use, modules) in EXTRAS.items()
    }
    missing = sum(text != "installed" for text in found["extras"].values())
    verdict = "not ready" if broken else "ready, with less than is good" if scarce else "ready"
    return {**found, "to fix": [*broken, *scarce], "verdict": f"{verdict}; extras missing: {missing}"}


def _find_fault(name: str) -> str:
    """Return why a package can't be used and what to do, or an empty text if it can."""
    try:
        import_module(name)
        if name == "torch":
            refuse_unsafe_torch(version("torch"))
    except ConfigError as error:
        return str(error)
    except (ImportError, RuntimeError, OSError) as error:
        return f"{name} cannot be imported ({error}); {REMEDIES[name]}"
    return ""


def _free_memory() -> int | None:
    """Return the bytes of memory that are available, within a container's limit; None if the system doesn't say."""
    sizes = []
    with suppress(OSError, IndexError):
        sizes.append(int(re.findall(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[0]) * 1024)
    with suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        sizes.append(int(limit) - int(used))
    return min(sizes, default=None)


def refuse_unsafe_torch(installed: str) -> None:
    """Refuse a torch whose memory a file of encoder weights could corrupt.

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
