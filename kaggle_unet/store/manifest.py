"""What a store says about itself, as plain values in JSON."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaggle_unet.errors import DataError

FORMAT = 1


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json``."""
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = dict(json.loads(read_file(path)))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete the store and run make-targets again") from error
    if manifest.get("format") != FORMAT:
        message = f"{path} has format {manifest.get('format')}, wanted {FORMAT}"
        raise DataError(f"{message}; delete the store and run make-targets again")
    return manifest


def read_file(path: Path) -> bytes:
    """Read a file of a store."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); run make-targets again") from error


def to_plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a mapping into what it is once it has been JSON: tuples are lists, keys are text."""
    plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return plain


def to_json(value: Mapping[str, Any]) -> str:
    """Write plain values for people to read."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def hash_plain(plain: object) -> str:
    """Hash plain values."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
