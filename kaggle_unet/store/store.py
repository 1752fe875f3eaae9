"""Prepared samples and targets in a folder.

::

    manifest.json        what the store was made from and with; complete or not
    samples/<id>.npz     image, labels, ignore, what else is known
    targets/<id>.npz     planes, weights
    folds.csv            id, fold, and what the folds were made from
    report.json          what was found while reading

Each file is written whole, so an interrupted run leaves a store that the next one continues.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_unet.errors import DataError
from kaggle_unet.store.atomic import atomic_write, flush_files, sample_file
from kaggle_unet.store.manifest import (
    FORMAT,
    decode_sample,
    decode_targets,
    encode_sample,
    encode_targets,
    find_differences,
    hash_plain,
    read_file,
    read_manifest,
    to_json,
    to_plain,
)
from kaggle_unet.types import Planes, Sample, Weights

_KINDS = ("samples", "targets")


class Store:
    """Samples and targets by id; cheap to pickle, so that every worker has its own."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = dict(manifest)

    @classmethod
    def create(cls, folder: str | Path, identity: Mapping[str, Any], about: Mapping[str, Any]) -> "Store":
        """Start a store, or continue one of the same identity."""
        folder = Path(folder)
        if (folder / "manifest.json").exists():
            store = cls(folder, read_manifest(folder))
            differing = find_differences(store.manifest["identity"], to_plain(identity))
            if differing and store.manifest["complete"]:
                message = f"store {folder} was made for something else; pass another --store or delete it"
                raise DataError(message, [f"{key}: was {old!r}, is {new!r}" for key, old, new in differing])
            if not differing:
                return store
            for kind in _KINDS:  # an interrupted store of other data or another config: nobody has used it yet
                shutil.rmtree(folder / kind, ignore_errors=True)
            (folder / "manifest.json").unlink()
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(f"{folder} is not empty and no store; pass another --store")
        manifest = {"format": FORMAT, "complete": False, "identity": to_plain(identity), "about": to_plain(about)}
        store = cls(folder, {**manifest, "identity_sha256": hash_plain(manifest["identity"])})
        store._write_manifest()
        return store

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a complete store."""
        folder = Path(folder)
        remedy = f"run kaggle-unet make-targets CONFIG --data ZIP --store {folder}"
        if not (folder / "manifest.json").exists():
            raise DataError(f"there is no store in {folder}; {remedy}")
        store = cls(folder, read_manifest(folder))
        if not store.manifest["complete"]:
            raise DataError(f"store {folder} is not complete; {remedy} again, it continues")
        return store

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples that are there with their targets, sorted."""
        return tuple(self.manifest["ids"]) if self.manifest["complete"] else self._list()

    @property
    def folds(self) -> dict[str, int]:
        """Fold of each sample; samples without a fold are not in it."""
        text = (self.folder / "folds.csv").read_text(encoding="utf-8")
        return {row["id"]: int(row["fold"]) for row in csv.DictReader(io.StringIO(text, newline="")) if row["fold"]}

    @property
    def report(self) -> dict[str, Any]:
        """What was found while the samples were read, as it was given to `finish`."""
        report: dict[str, Any] = json.loads(read_file(self.folder / "report.json"))
        return report

    def has(self, sample_id: str) -> bool:
        """Tell whether a sample is finished."""
        return self._path("samples", sample_id).exists() and self._path("targets", sample_id).exists()

    def write(self, sample: Sample, planes: Planes, weights: Weights | None = None) -> None:
        """Add or replace a sample."""
        self.write_sample(sample)
        self.write_targets(sample.id, planes, weights)

    def write_sample(self, sample: Sample) -> None:
        """Add or replace a sample whose targets are still to come."""
        atomic_write(self._path("samples", sample.id), encode_sample(sample), flush=False)

    def write_targets(self, sample_id: str, planes: Planes, weights: Weights | None = None) -> None:
        """Add or replace a sample's targets."""
        atomic_write(self._path("targets", sample_id), encode_targets(planes, weights), flush=False)

    def remove(self, sample_id: str) -> None:
        """Remove a sample and its targets, as far as they are there."""
        for kind in ("targets", "samples"):  # from here on `has` says no
            self._path(kind, sample_id).unlink(missing_ok=True)

    def read(self, sample_id: str) -> Sample:
        """Read a sample."""
        path = self._path("samples", sample_id)
        return decode_sample(read_file(path), str(path))

    def read_targets(self, sample_id: str) -> tuple[Planes, Weights]:
        """Read a sample's targets."""
        path = self._path("targets", sample_id)
        return decode_targets(read_file(path), str(path))

    def finish(self, folds: Sequence[Mapping[str, object]], report: Mapping[str, Any]) -> None:
        """Write folds and report, and declare the store complete."""
        ids = self._list()
        assert sorted(str(row["id"]) for row in folds) == list(ids), "every sample has one row of folds"
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(folds[0]) if folds else ["id", "fold"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(folds)
        flush_files(self._path(kind, id_) for id_ in ids for kind in ("samples", "targets"))
        atomic_write(self.folder / "folds.csv", table.getvalue())
        atomic_write(self.folder / "report.json", to_json(report))
        self.manifest |= {"ids": list(ids), "complete": True}
        self._write_manifest()

    def _list(self) -> tuple[str, ...]:
        found = (path.name.removesuffix(".npz") for path in (self.folder / "targets").glob("*.npz"))
        return tuple(sorted(sample_id for sample_id in found if self.has(sample_id)))

    def _path(self, kind: str, sample_id: str) -> Path:
        return sample_file(self.folder / kind, sample_id)

    def _write_manifest(self) -> None:
        atomic_write(self.folder / "manifest.json", to_json(self.manifest))
