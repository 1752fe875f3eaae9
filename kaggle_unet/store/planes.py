"""Predicted planes on disk: one `.npz` per sample, in half precision, and ``planes.json`` once all are written.

Planes are rounded before every decoding, stored or not, so that decoding from disk and in memory give equal labels.
"""

import io
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.errors import DataError, LockedError, reading
from kaggle_unet.store.atomic import atomic_write, lock, resource_errors, sample_file
from kaggle_unet.store.manifest import read_record, unpack_arrays, write_record
from kaggle_unet.types import HalfPlanes, Planes, Shard

ABOUT = "planes.json"
_BEGUN = "planes.begun.json"


def round_planes(planes: Planes | HalfPlanes) -> Planes | HalfPlanes:
    """Round to what the disk holds."""
    return planes if planes.dtype == np.float16 else to_half(planes).astype(np.float32)


def to_half(planes: Planes | HalfPlanes) -> HalfPlanes:
    """Convert to half precision; numpy alone takes thirty times as long where a half is inexact below 2⁻¹⁴."""
    if planes.dtype == np.float32:  # adding 0.5 rounds to the steps of 2⁻²⁴ that there are below 2⁻¹⁴
        planes = np.where(planes < 2**-14, planes + np.float32(0.5) - np.float32(0.5), planes)
    return planes.astype(np.float16, copy=False)


def encode_planes(planes: Planes | HalfPlanes) -> bytes:
    """Encode one sample's planes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=to_half(planes))
    return buffer.getvalue()


def write_planes(folder: Path, id_: str, planes: Planes | HalfPlanes) -> None:
    """Write one sample's planes."""
    atomic_write(sample_file(folder, id_), encode_planes(planes))


def read_planes(folder: Path, id_: str) -> Planes:
    """Read one sample's planes."""
    path = sample_file(folder, id_)
    with reading(path, "run kaggle-unet predict --oof again"):
        return np.asarray(unpack_arrays(path.read_bytes())["planes"], np.float32)


@contextmanager
def planes_folder(
    folder: Path, about: Mapping[str, Any], ids: Collection[str], *, shard: Shard | None = None
) -> Iterator[set[str]]:
    """Hold a folder for the planes of these samples, and yield the ids that an interrupted call has already done.

    Planes of any other prediction are removed. While the block runs, and after it has failed, there is no
    ``planes.json``, so that half-written planes are never read; a shard leaves that file to the unsharded call.
    """
    if folder.is_symlink():
        raise DataError(f"{folder} is a symbolic link, which is not followed; remove it, or name another folder")
    for id_ in ids:  # before the first is predicted
        sample_file(folder, id_)
    with lock(folder, shard=shard) as held:
        begun = {**json.loads(json.dumps(about)), "ids": sorted(ids)}
        done: set[str] = set()
        for left in (_read_about(folder / name) for name in (_BEGUN, ABOUT)):
            is_same = {**left, "ids": None} == {**begun, "ids": None}
            if left["ids"] and not is_same and held.others():
                raise LockedError(f"{folder} is in use by shards of another prediction; wait, or name another folder")
            for id_, file in {id_: sample_file(folder, id_) for id_ in left["ids"]}.items():
                if is_same and id_ in ids and _is_sound(folder, id_):
                    done.add(id_)
                else:
                    with resource_errors(file):
                        file.unlink(missing_ok=True)
        write_record(folder / _BEGUN, begun)
        with resource_errors(folder / ABOUT):
            (folder / ABOUT).unlink(missing_ok=True)
        held.release_to_shards()
        yield done
        if shard is None:
            (folder / _BEGUN).replace(folder / ABOUT)


def _read_about(path: Path) -> dict[str, Any]:
    """Read what a folder's planes were predicted with; a missing or damaged file counts as none."""
    try:
        about = read_record(path, "")
    except DataError:
        return {"ids": []}
    ids = about.get("ids", [])
    return {**about, "ids": [str(id_) for id_ in ids]} if isinstance(ids, list) and ids else {"ids": []}


def _is_sound(folder: Path, id_: str) -> bool:
    try:
        read_planes(folder, id_)
    except DataError:
        return False
    return True


def describe_planes(folder: Path) -> dict[str, Any]:
    """Read what a folder of planes holds."""
    return read_record(folder / ABOUT, "there are no finished planes here; run kaggle-unet predict --oof")
