"""Libraries for formats that not everybody needs."""

from importlib import import_module
from types import ModuleType

from kaggle_unet.errors import ConfigError


def import_extra(name: str) -> ModuleType:
    """Import a library of the extra `formats`, or say how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        msg = f"this format needs {name.split('.', maxsplit=1)[0]} ({error}); install it with: .venv/bin/pip install -e '.[formats]'"
        raise ConfigError(msg) from error
