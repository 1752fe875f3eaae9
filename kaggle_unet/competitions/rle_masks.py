"""Masks from the run-length codes of a CSV."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from kaggle_unet.competitions.pairing import Pairing
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note, describe_objects, describe_overlap, describe_whole_mask
from kaggle_unet.io.tables import Table, read_table_beside
from kaggle_unet.masks.rle import decode_labels
from kaggle_unet.types import Image, Labels


@dataclass(frozen=True)
class RleMasks:
    """The run-length codes of each sample."""

    rles: Mapping[str, tuple[str, ...]]
    where: str
    single_object: bool

    @property
    def ids(self) -> Collection[str]:
        """Ids of all samples with masks."""
        return self.rles.keys()

    def files(self, sample_id: str) -> tuple[str, ...]:
        """List the mask files of a sample."""
        assert sample_id in self.rles
        return ()

    def stamp(self) -> str:
        """Hash what is not in files."""
        digest = hashlib.sha256()
        for sample_id in sorted(self.rles):
            digest.update("\n".join([sample_id, *self.rles[sample_id], ""]).encode())
        return digest.hexdigest()

    def read(self, archive: Archive, sample_id: str, image: Image) -> tuple[Labels, tuple[Note, ...]]:  # noqa: ARG002
        """Read a sample's labels."""
        rles = self.rles[sample_id]
        try:
            labels, n_contested = decode_labels(rles, image.shape[:2])
        except DataError as error:
            raise DataError(f"{self.where}: id {sample_id!r}: {error}") from error
        if self.single_object:
            mask = labels > 0
            return mask.astype(np.int32), describe_whole_mask(mask, image)
        n_empty = len(rles) - int(labels.max(initial=0))
        return labels, (*describe_overlap(n_contested, n_empty), *describe_objects(labels))


def find_rle_masks(
    pairing: Pairing, file_name: str, columns: tuple[str, str], *, single_object: bool
) -> RleMasks | None:
    """Look for a CSV with the masks of a set of images, in the archive or beside it."""
    table = read_table_beside(pairing.archive, file_name)
    if table is None:
        return None
    rles = {key: rles for key, rles in collect_rles(table, *columns).items() if key in pairing.images}
    return RleMasks(rles, table.where, single_object) if rles else None


def collect_rles(table: Table, id_column: str, rle_column: str) -> dict[str, tuple[str, ...]]:
    """Collect the codes of each id."""
    rles: dict[str, list[str]] = {}
    for sample_id, rle in table.select(id_column, rle_column):
        of_sample = rles.setdefault(sample_id, [])
        if rle and not rle.isspace():
            of_sample.append(rle)
    return {sample_id: tuple(of_sample) for sample_id, of_sample in rles.items()}
