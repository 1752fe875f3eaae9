"""Prepared samples in a folder, and any number of target sets beneath them.

::

    manifest.json            what the samples were made from; complete or not
    samples/<id>.npz         image, labels, ignore, what else is known
    targets/<key>/           one codec with its weights; the key is their hash
        manifest.json        both; written when all is there
        <id>.npz             planes, weights
    folds.csv                id, fold, and what the folds were made from
    report.json              what was found while reading

Samples depend on the data and the competition's settings alone, so another border or weight adds a target set and reads
no data. Each file is written atomically, so the next call can continue an interrupted one.
"""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError, reading
from kaggle_unet.io.tables import read_folds, to_csv
from kaggle_unet.store.atomic import atomic_write, flush_files, sample_file, sha256
from kaggle_unet.store.manifest import (
    FORMAT,
    find_differences,
    hash_plain,
    read_arrays,
    read_manifest,
    read_record,
    remake_hint,
    write_arrays,
    write_record,
)
from kaggle_unet.types import DataFrame, DataIssue, Planes, Sample, Weights


class Store:
    """Samples by id; cheap to pickle, so that every worker has its own."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = dict(manifest)
        self._kept: dict[str, Sample | None] = {}

    @classmethod
    def create(
        cls, folder: str | Path, identity: Mapping[str, Any], about: Mapping[str, Any], *, may_clear: bool = True
    ) -> "Store":
        """Start a store, or continue one of the same identity; an interrupted one of another may be cleared."""
        folder = Path(folder)
        if (folder / "manifest.json").exists():
            store = cls(folder, read_manifest(folder))
            differing = find_differences(store.manifest["identity"], dict(identity))
            if differing and (store.manifest["complete"] or not may_clear):
                message = f"store {folder} was made for something else; pass another --store or delete it"
                raise DataError(message, [_name_difference(*one, store.manifest["about"], about) for one in differing])
            if not differing:
                return store._refuse_fewer_levels() if store.manifest["complete"] else store
            for kind in ("samples", "targets"):  # an interrupted store of other data: nobody has used it yet
                shutil.rmtree(folder / kind, ignore_errors=True)
            (folder / "manifest.json").unlink()
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(f"{folder} is neither empty nor a store; pass another --store")
        manifest = {"format": FORMAT, "complete": False, "identity": dict(identity), "about": dict(about)}
        store = cls(folder, {**manifest, "identity_sha256": hash_plain(manifest["identity"])})
        store._write_manifest()
        return store

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a complete store."""
        folder = Path(folder)
        remedy = f"run kaggle-unet make-targets CONFIG --data DATA --store {folder}"
        if not (folder / "manifest.json").exists():
            raise DataError(f"there is no store in {folder}; {remedy}")
        store = cls(folder, read_manifest(folder))
        if not store.manifest["complete"]:
            raise DataError(f"store {folder} is incomplete; {remedy} again to finish it")
        return store._refuse_fewer_levels()

    def _refuse_fewer_levels(self) -> "Store":
        """Refuse a store of the version that kept 8 of an image's 16 bits, as its report shows."""
        if any(issue["done"].startswith("divided by 257") for issue in self.report.get("oddities", ())):
            msg = f"store {self.folder} is of an older version, which kept 8 of an image's 16 bits"
            raise DataError(f"{msg}; {remake_hint(self.folder, self.manifest)}")
        return self

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples of a complete store, sorted."""
        return tuple(self.manifest["ids"])

    @property
    def folds(self) -> dict[str, int]:
        """Fold of each sample; samples without a fold are not in it."""
        table = self.read_folds().dropna(subset="fold")
        return dict(zip(table["id"], table["fold"].tolist(), strict=True))

    def read_folds(self) -> DataFrame:
        """Read which fold each sample is in, with what the folds were made from."""
        return read_folds(self.folder / "folds.csv", self.manifest.get("folds_sha256"))

    @property
    def report(self) -> dict[str, Any]:
        """What was found while the samples were read, as it was given to `finish`."""
        return read_record(self.folder / "report.json", remake_hint(self.folder, self.manifest))

    def read(self, sample_id: str) -> Sample:
        """Read a sample, or return it from memory if it is kept there."""
        if kept := self._kept.get(sample_id):
            return kept
        path = sample_file(self.folder / "samples", sample_id)
        arrays = read_arrays(path, "image", "about")
        with reading(path, "delete it and run make-targets again"):
            about, labels = json.loads(arrays["about"].tobytes()), arrays.get("labels")
            sample = Sample(
                id=about["id"],
                image=arrays["image"],
                labels=None if labels is None else labels.astype(np.int32),
                kind=about["kind"],
                ignore=arrays.get("ignore"),
                numbers=about["numbers"],
                data_issues=tuple(DataIssue(*issue) for issue in about["oddities"]),
            )
        if sample_id in self._kept:
            self._kept[sample_id] = sample
        return sample

    def keep(self, sample_ids: Iterable[str]) -> None:
        """Keep these samples in memory once they are read."""
        self._kept = dict.fromkeys(sample_ids)

    def write(self, sample: Sample) -> None:
        """Add or replace a sample."""
        about = {
            "id": sample.id,
            "kind": sample.kind,
            "numbers": dict(sample.numbers),
            "oddities": [[issue.sample, issue.kind, issue.count, issue.action] for issue in sample.data_issues],
        }
        text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
        arrays: dict[str, NDArray[Any]] = {"image": sample.image, "about": text}
        if sample.labels is not None:
            arrays["labels"] = sample.labels.astype(np.min_scalar_type(sample.labels.max(initial=0)))
        if sample.ignore is not None:
            arrays["ignore"] = sample.ignore
        write_arrays(sample_file(self.folder / "samples", sample.id), arrays)

    def target_identities(self) -> list[dict[str, Any]]:
        """List what each complete target set was made with."""
        paths = sorted((self.folder / "targets").glob("*/manifest.json"))
        return [read_manifest(path.parent)["identity"] for path in paths]

    def finish(self, targets: "TargetSet", folds: DataFrame, report: Mapping[str, Any]) -> None:
        """Write folds and report, and declare the samples and one target set complete."""
        ids = sorted(folds["id"])
        self.flush(ids, targets)
        write_record(targets.folder / "manifest.json", {"format": FORMAT, "identity": targets.identity})
        atomic_write(self.folder / "folds.csv", to_csv(folds))
        write_record(self.folder / "report.json", report)
        self.manifest |= {"ids": ids, "complete": True, "folds_sha256": sha256(self.folder / "folds.csv")}
        self._write_manifest()

    def flush(self, sample_ids: Iterable[str], targets: "TargetSet") -> None:
        """Flush samples and their targets, so that they survive a power cut."""
        folders = (self.folder / "samples", targets.folder)
        flush_files(sample_file(folder, id_) for id_ in sample_ids for folder in folders)

    def _write_manifest(self) -> None:
        write_record(self.folder / "manifest.json", self.manifest)


def _name_difference(key: str, old: Any, new: Any, made: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Describe a difference, by the names in `about` for data and checkpoints, of which an identity has only hashes."""
    name = key.rpartition(".")[2]
    was, given = (about.get(name, repr(value)) for about, value in ((made, old), (asked, new)))
    return f"{key}: was {was}, is {given}{' with other content' if was == given else ''}"


class TargetSet:
    """Planes and weights of a store's samples, made by one codec with its weights."""

    def __init__(self, store_folder: Path, identity: Mapping[str, Any]) -> None:
        self.identity = dict(identity)
        self.folder = store_folder / "targets" / hash_plain(self.identity)[:8]

    @property
    def is_complete(self) -> bool:
        """Whether targets of all samples exist."""
        return (self.folder / "manifest.json").exists()

    def read(self, sample_id: str) -> tuple[Planes, Weights]:
        """Read a sample's targets."""
        path = sample_file(self.folder, sample_id)
        arrays = read_arrays(path, "planes", "shape")
        with reading(path, "delete it and run make-targets again"):
            shape = tuple(arrays["shape"].tolist())
            if -(-math.prod(shape) // 8) != arrays["planes"].size:
                raise ValueError(f"its planes do not fill {shape}")
            bits = np.unpackbits(arrays["planes"], count=math.prod(shape)).reshape(shape)
            weights = arrays.get("weights")
        return bits.astype(np.float32), np.ones(shape[1:], np.float32) if weights is None else weights

    def write(self, sample_id: str, planes: Planes, weights: Weights | None = None) -> None:
        """Add or replace a sample's targets; without weights, every pixel weighs 1."""
        bits = planes.astype(bool)
        assert (bits == planes).all(), "target planes hold zeros and ones"
        arrays: dict[str, NDArray[Any]] = {"planes": np.packbits(bits), "shape": np.array(planes.shape, np.int64)}
        if weights is not None and (weights != 1).any():
            assert weights.shape == planes.shape[1:], "weights cover the planes"
            arrays["weights"] = weights.astype(np.float32, copy=False)
        write_arrays(sample_file(self.folder, sample_id), arrays)
