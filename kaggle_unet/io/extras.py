"""Libraries for formats that not everybody needs."""

from importlib import import_module
from types import ModuleType

from kaggle_unet.errors import ConfigError


def import_extra(name: str, extra: str = "formats") -> ModuleType:
    """Import a library of an extra, or say how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        msg = f"this format needs {library} ({error}); install it with: .venv/bin/pip install -e '.[{extra}]'"
        raise ConfigError(msg) from error
