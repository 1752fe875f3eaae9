"""`doctor`: what this machine has, and whether the packages fit together."""

import os
import re
import shutil
from importlib import import_module
from importlib.metadata import version
from typing import Any

from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.provenance import describe_environment

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
