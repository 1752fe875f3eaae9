"""Stores that a training adds to its own: more samples to learn from in every fold, none to be judged by.

Such are those of `pseudo-label`, and of `make-targets` for other data. Their order on the command line means nothing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from kaggle_unet.config import Config
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.steps.run import changed_keys, describe_run
from kaggle_unet.store import Store, atomic_write
from kaggle_unet.types import Image, Sample


def open_added(config: Config, store: Store, folders: Sequence[Path]) -> list[Store]:
    """Open added stores."""
    added = [Store.open(folder) for folder in folders]
    for one in added:
        _refuse_other_config(config, one)
    _refuse_clashes([store, *added])
    return sorted(added, key=lambda one: str(one.manifest["identity_sha256"]))


def read_added(added: Sequence[Store], store: Store, held_out: Collection[str]) -> tuple[list[Sample], list[str]]:
    """Read the samples that a fold may learn from."""
    if not added:
        return [], []
    forbidden = {_hash_image(store.read(id_).image) for id_ in sorted(held_out)}
    samples, left_out = [], []
    for sample in (one.read(id_) for one in added for id_ in one.ids):
        if _hash_image(sample.image) in forbidden:
            left_out.append(sample.id)
        else:
            samples.append(sample)
    return samples, left_out


def record_added(run: Path, added: Sequence[Store]) -> None:
    """Write down which stores a run adds; once a checkpoint is there, it holds."""
    about = describe_run(run)
    wanted = [_describe(one) for one in added]
    before = about.get("added_stores", [])
    if any(run.glob("fold*/*.pt")):
        if [one["hash"] for one in before] != [one["hash"] for one in wanted]:
            names = ", ".join(one["store"] for one in before) or "none"
            msg = f"{run} was trained with other added stores ({names}); pass those with --add-store, or another --run"
            raise ConfigError(msg)
    elif before != wanted:
        atomic_write(run / "run.json", json.dumps({**about, "added_stores": wanted}, indent=1))


def _describe(store: Store) -> dict[str, Any]:
    return {
        "store": str(store.folder),
        "hash": store.manifest["identity_sha256"],
        "data": store.manifest["identity"]["data"],
        "samples": len(store.ids),
    }


def _refuse_other_config(config: Config, store: Store) -> None:
    if changed := changed_keys(config, store):
        msg = f"--add-store {store.folder} was made with another config ({', '.join(changed)} differ); make it with "
        msg += "this one and another --store, or leave it out"
        raise ConfigError(msg)


def _refuse_clashes(stores: Sequence[Store]) -> None:
    counts = Counter(id_ for one in stores for id_ in one.ids)
    clashes = sorted(id_ for id_, count in counts.items() if count > 1)
    if clashes:
        msg = (
            f"--add-store: {len(clashes)} ids are in more than one of {', '.join(str(one.folder) for one in stores)}; "
        )
        msg += "rename the added images, or leave them out, and make their store again"
        raise DataError(msg, clashes)


def _hash_image(image: Image) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
