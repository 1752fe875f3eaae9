"""Planes of probabilities on disk: one `.npz` per sample, in half precision.

Every decoder sees planes rounded to half precision, stored or not, so that decoding from the disk gives the labels that
decoding in memory gives.
"""

import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.store import atomic_write
from kaggle_unet.types import HalfPlanes, Planes

ABOUT = "planes.json"
_BEGUN = "planes.begun.json"


def round_planes(planes: Planes | HalfPlanes) -> Planes | HalfPlanes:
    """Round to what the disk holds."""
    return planes if planes.dtype == np.float16 else planes.astype(np.float16).astype(np.float32)


def write_planes(folder: Path, id_: str, planes: Planes | HalfPlanes) -> None:
    """Write one sample's planes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=planes.astype(np.float16, copy=False))
    atomic_write(folder / f"{id_}.npz", buffer.getvalue())


def read_planes(folder: Path, id_: str) -> Planes:
    """Read one sample's planes."""
    path = folder / f"{id_}.npz"
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            return np.asarray(file["planes"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        msg = f"{path}: planes of sample {id_!r} can't be read ({error}); run kaggle-unet predict --oof again"
        raise DataError(msg) from error


def begin_planes(folder: Path, about: Mapping[str, Any], ids: Iterable[str]) -> set[str]:
    """Say that a folder's planes are about to change, so that nobody reads half old and half new ones."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = {**json.loads(json.dumps(about)), "ids": sorted(ids)}
    done: set[str] = set()
    for left in filter(None, (_read_about(folder / name) for name in (_BEGUN, ABOUT))):
        is_same = {**left, "ids": None} == {**begun, "ids": None}
        for id_ in left.get("ids", []):
            if is_same and id_ in begun["ids"] and _is_sound(folder, id_):
                done.add(id_)
            else:
                (folder / f"{id_}.npz").unlink(missing_ok=True)
    atomic_write(folder / _BEGUN, json.dumps(begun, indent=1))
    (folder / ABOUT).unlink(missing_ok=True)
    return done


def _read_about(path: Path) -> dict[str, Any] | None:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def _is_sound(folder: Path, id_: str) -> bool:
    try:
        read_planes(folder, id_)
    except DataError:
        return False
    return True


def finish_planes(folder: Path) -> None:
    """Record that a folder of planes is whole."""
    (folder / _BEGUN).replace(folder / ABOUT)


def describe_planes(folder: Path) -> dict[str, Any]:
    """Read what a folder of planes holds."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError) as error:
        msg = f"{folder}: no finished planes here ({error}); run kaggle-unet predict --oof"
        raise DataError(msg) from error
    return about
