"""The contents of a store as bytes: manifests in JSON, arrays in `.npz` files that numpy alone can read.

Images are stored as they are, everything else is deflated at its fastest level. Measured on all 664 samples of DSB2018,
one process: deflated images take 66 MiB instead of 123 MiB, but 2.3 s instead of 0.1 s to write and 0.7 s instead of
0.03 s to read in every epoch; the arrays that hold few values shrink from 331 MiB to 6 MiB in 0.7 s, and level 6,
numpy's, would take three times as long for 3 MiB less. Targets are 0 or 1 and are packed eight to a byte. Weights are
the float32 numbers that training computes.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError, reading
from kaggle_unet.io.archive import read_entry_count
from kaggle_unet.store.atomic import atomic_write


def find_differences(first: Any, second: Any, *, key: str = "") -> list[tuple[str, Any, Any]]:
    """List where two trees of plain values differ."""
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return [] if first == second else [(key, first, second)]
    return [
        difference
        for name in sorted(first.keys() | second.keys())
        for difference in find_differences(first.get(name), second.get(name), key=f"{key}.{name}".lstrip("."))
    ]


_IS_HASHED = "has_sha256"
FORMAT = 2  # 1 had the targets of a single codec, and weights in half precision


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json``."""
    path = folder / "manifest.json"
    manifest = read_record(path, "delete the store and run make-targets again")
    if (found := manifest.get("format")) != FORMAT:
        which = f"{'an older' if found == 1 else 'another'} version (format {found}, expected {FORMAT})"
        raise DataError(f"{path} is of {which}; {remake_hint(folder, manifest)}")
    return manifest


def remake_hint(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Return the instruction for making a store again."""
    data = manifest.get("about", {}).get("data", "DATA")
    return f"delete the store and run kaggle-unet make-targets CONFIG --data {data} --store {folder}"


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values as JSON, with their hash and a note that there is one."""
    plain = {**json.loads(json.dumps(value, allow_nan=False)), _IS_HASHED: True}
    plain.pop("sha256", None)
    atomic_write(path, json.dumps({**plain, "sha256": hash_plain(plain)}, indent=1) + "\n")


def read_record(path: Path, cure: str) -> dict[str, Any]:
    """Read what `write_record` wrote; the hash may be missing only if an earlier version wrote none."""
    with reading(path, cure):
        record: dict[str, Any] = dict(json.loads(path.read_bytes()))
        digest = record.pop("sha256", None)
        if (digest is not None or _IS_HASHED in record) and digest != hash_plain(record):
            raise ValueError("not what was written, by its sha256")
    record.pop(_IS_HASHED, None)
    return record


def hash_plain(plain: object) -> str:
    """Hash plain values."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file, unflushed; equal values give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            archive.compression = zipfile.ZIP_STORED if name == "image" else zipfile.ZIP_DEFLATED
            with archive.open(f"{name}.npy", "w") as file:  # dated 1980
                np.lib.format.write_array(file, array, allow_pickle=False)
    atomic_write(path, buffer.getvalue(), flush=False)


def read_arrays(path: Path, *wanted: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of a file; those `wanted` must be there."""
    with reading(path, cure := "delete it and run make-targets again"):
        arrays = unpack_arrays(path.read_bytes())
    if missing := set(wanted) - arrays.keys():
        raise DataError(f"{path} lacks {', '.join(sorted(missing))}; {cure}")
    return arrays


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz`; unlike numpy and zipfile, raise `ValueError` if its list has lost some."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if (n := read_entry_count(archive)) != len(names):
            raise ValueError(f"its list has {len(names)} of {n} arrays")
        files = {name.removesuffix(".npy"): io.BytesIO(archive.read(name)) for name in names}
    return {name: np.lib.format.read_array(file, allow_pickle=False) for name, file in files.items()}
