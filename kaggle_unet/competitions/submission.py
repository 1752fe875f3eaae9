"""The CSV that Kaggle scores: one row per object, or one per image where the mask is a single object.

Objects are rows of labels, so they cannot overlap; an image without any has one row with an empty field.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from kaggle_unet.competitions.archive import open_archive
from kaggle_unet.competitions.competition import Competition
from kaggle_unet.competitions.mask_codes import collect_codes
from kaggle_unet.competitions.tables import read_csv, read_table_beside
from kaggle_unet.masks.rle import encode_labels, encode_mask
from kaggle_unet.store import atomic_write
from kaggle_unet.types import Labels


def write_submission(path: str | Path, competition: Competition, rows: Mapping[str, Labels]) -> None:
    """Write labels as a competition's CSV.

    Parameters
    ----------
    path : str or Path
        Written whole or not at all.
    competition : Competition
        Decides the columns, and whether an image's labels are one object.
    rows : mapping of str to int32 array, shape (H, W)
        Labels by id, taken one at a time in the mapping's order.

    Raises
    ------
    ResourceError
        If the file cannot be written.

    Notes
    -----
    The same labels give the same bytes: lines end with a line feed, there is no index, and objects come in the order of
    their numbers.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([competition.id_column, competition.rle_column])
    for sample_id, labels in rows.items():
        writer.writerows([sample_id, rle] for rle in _encode(competition, labels))
    atomic_write(path, table.getvalue())


def read_submission(path: str | Path, competition: Competition) -> dict[str, list[str]]:
    """Read a competition's CSV.

    Parameters
    ----------
    path : str or Path
        The file.
    competition : Competition
        Decides the columns.

    Returns
    -------
    dict of str to list of str
        Run-length codes by id, in the order of the rows; an empty list for an image without objects.

    Raises
    ------
    DataError
        If it cannot be read or lacks a column. The codes themselves are not checked.
    """
    codes = collect_codes(read_csv(path), competition.id_column, competition.rle_column)
    return {sample_id: list(rles) for sample_id, rles in codes.items()}


def order_ids(ids: Collection[str], competition: Competition, data: str) -> tuple[str, ...]:
    """Put ids into the order of the sample submission that lies in or beside the data, if there is one."""
    archive = open_archive(data)
    for file_name in competition.sample_submissions:
        table = read_table_beside(archive, file_name)
        if table is not None and competition.id_column in table.columns:
            listed = tuple(dict.fromkeys(sample_id for (sample_id,) in table.select(competition.id_column)))
            if set(listed) == set(ids):
                return listed
    return tuple(sorted(ids))


def _encode(competition: Competition, labels: Labels) -> Iterator[str]:
    if competition.single_object:
        yield encode_mask(labels > 0)
    else:
        yield from encode_labels(labels) or [""]
