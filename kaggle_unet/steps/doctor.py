"""`doctor`: what this machine has, and whether the packages fit together."""

import os
import shutil
from importlib import import_module
from typing import Any

from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.provenance import describe_environment


def examine() -> dict[str, Any]:
    """Import what must fit together and describe the machine."""
    for name, remedy in (
        ("torch", "install it from the same index as torchvision"),
        ("torchvision", "torch and torchvision must come from one index; install both again together"),
        ("cv2", "keep opencv-python-headless alone: uninstall every opencv package, then install that one"),
        ("segmentation_models_pytorch", "run scripts/setup again"),
        ("albumentations", "run scripts/setup again"),
    ):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
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
