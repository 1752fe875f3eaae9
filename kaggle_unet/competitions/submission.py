"""Submissions: the CSV that Kaggle scores, written, read, and checked by all of the competition's rules.

It has one row per object, or one per image if the mask is a single object. Objects come from labels, so they cannot
overlap; an image without any has one row with an empty field.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from kaggle_unet.competitions.competition import Competition
from kaggle_unet.competitions.pairing import RleRow, collect_rles
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError, shorten_list
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.tables import Table, format_rows, read_csv, read_table_beside
from kaggle_unet.masks.labels import check_labels
from kaggle_unet.masks.rle import decode_and_count, decode_mask, encode, encode_mask, find_invalid_rles
from kaggle_unet.store import atomic_write
from kaggle_unet.types import Labels, Shape


def write_submission(path: str | Path, labels: Mapping[str, ArrayLike], competition: str = "dsb2018") -> None:
    """Write labels as a competition's CSV.

    Parameters
    ----------
    path : str or Path
        The file, written whole or not at all.
    labels : mapping of str to integer array, shape (H, W)
        Labels by id, in the order of the rows; 0 is background.
    competition : {"dsb2018", "tgs", "folder"}
        Decides the columns, and whether all instances of an image are one object (``"tgs"``).

    Raises
    ------
    DataError
        If an array is not labels.
    ResourceError
        If the file cannot be written.

    Notes
    -----
    The same labels give the same bytes: lines end with a line feed, there is no index, and objects come in the order of
    their numbers. An image without objects has one row with an empty field.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import kaggle_unet as ku
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ku.write_submission(Path(folder) / "x.csv", {"a": np.array([[1, 1, 2]])})
    ...     print((Path(folder) / "x.csv").read_text())
    ImageId,EncodedPixels
    a,1 2
    a,3 1
    <BLANKLINE>
    """
    kind = get_competition(competition)
    write_rles(path, {id_: to_rles(objects, kind, id_) for id_, objects in labels.items()}, kind)


def to_rles(labels: ArrayLike, competition: Competition, sample_id: str) -> list[str]:
    """Encode an image's objects as the fields of its rows, at least one."""
    checked, _ = check_labels(labels, f"labels of {sample_id!r}")
    return [encode_mask(checked > 0)] if competition.single_object else encode(checked) or [""]


def write_rles(path: str | Path, rles: Mapping[str, Sequence[str]], competition: Competition) -> None:
    """Write rows as a CSV."""
    rows = ((sample_id, rle) for sample_id, of_image in rles.items() for rle in of_image)
    atomic_write(path, format_rows((competition.id_column, competition.rle_column), rows))


def read_submission(path: str | Path, competition: str = "dsb2018") -> dict[str, list[str]]:
    """Read a competition's CSV.

    Parameters
    ----------
    path : str or Path
        The file.
    competition : {"dsb2018", "tgs", "folder"}
        Decides the columns.

    Returns
    -------
    dict of str to list of str
        Run-length codes by id, in the order of the rows; an empty list for an image without objects.

    Raises
    ------
    DataError
        If it cannot be read or lacks a column. The codes themselves are not checked: `check_submission` does.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import kaggle_unet as ku
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ku.write_submission(Path(folder) / "x.csv", {"a": np.array([[1, 1, 2]]), "b": np.array([[0, 0, 0]])})
    ...     ku.read_submission(Path(folder) / "x.csv")
    {'a': ['1 2', '3 1'], 'b': []}
    """
    kind = get_competition(competition)
    rles = collect_rles(read_csv(path).select(kind.id_column, kind.rle_column))
    return {sample_id: list(rles) for sample_id, rles in rles.items()}


def decode_submitted(csv: Path, sample_id: str, rles: Sequence[str], shape: Shape) -> Labels:
    """Decode the rows of an image, or raise a DataError that names it; Kaggle refuses objects that overlap."""
    try:
        labels, n_shared = decode_and_count([rle for rle in rles if rle], shape)
    except DataError as error:
        raise DataError(f"{csv}: image {sample_id!r}: {error}") from error
    if n_shared:
        msg = f"{csv}: image {sample_id!r}: {n_shared} pixels are in more than one object, which Kaggle refuses; "
        raise DataError(f"{msg}kaggle-unet check names the lines")
    return labels


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


# Kagglers saw 38 % of the public test tiles without salt, and 43 % is a strong model's share on all of them.
_BLANK_SHARE = (0.38, 0.43)


def check_submission(
    path: str | Path, competition: Competition, shapes: Mapping[str, Shape], *, black: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Find every broken rule of a CSV: errors, which Kaggle refuses, and warnings, which a person should look at.

    `shapes` are the sizes of the test set's images, `black` the ids of images without content, which no object can be
    on. Rows may come in any order. An image without objects needs a row with an empty field. Codes with adjacent runs
    that could be one are valid.
    """
    try:
        rows = _take_rows(read_csv(path, allowed=1000 * len(shapes)), competition, shapes)
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return str(error).split("\n  - "), []
    errors = [*_check_ids(rows, shapes), *_check_counts(rows, competition)]
    known = [row for row in rows if row.sample_id in shapes]
    faulty = find_invalid_rles([row.rle for row in known], [prod(row.shape) for row in known])
    errors += [_sentence(known[index], fault) for index, faults in faulty.items() for fault in faults]
    sound = [row for index, row in enumerate(known) if row.rle.strip() and index not in faulty]
    errors += _check_overlaps(sound)
    return errors, [*_look_at_blanks(rows, competition), *_look_at_masks(sound, competition, black)]


def _take_rows(table: Table, competition: Competition, shapes: Mapping[str, Shape]) -> list[RleRow]:
    wanted = (competition.id_column, competition.rle_column)
    if table.columns != wanted:
        found = ",".join(table.columns)
        raise DataError(f"line 1 is {found!r}, expected {','.join(wanted)!r}")
    return [
        RleRow(line, id_, rle, shapes.get(id_, (0, 0)))
        for line, (id_, rle) in zip(table.lines, table.rows, strict=True)
    ]


def _check_ids(rows: Sequence[RleRow], shapes: Mapping[str, Shape]) -> Iterator[str]:
    found = {row.sample_id: row.line for row in reversed(rows)}
    if missing := sorted(shapes.keys() - found.keys()):
        yield f"{_count(missing, 'image')} without a row: {_name(missing)}; leave the field empty where nothing is"
    if unknown := sorted(found.keys() - shapes.keys()):
        lines = ", ".join(shorten_list([str(found[key]) for key in unknown]))
        yield f"{_count(unknown, 'id')} not in the test set: {_name(unknown)} (first in line {lines})"


def _check_counts(rows: Sequence[RleRow], competition: Competition) -> Iterator[str]:
    """Require one row per image for single objects; otherwise an empty field must be an image's only row."""
    n_rows = Counter(row.sample_id for row in rows)
    blank = Counter(row.sample_id for row in rows if not row.rle.strip())
    for sample_id, n in n_rows.items():
        if competition.single_object and n > 1:
            yield f"id {sample_id!r} has {n} rows, expected one: join its runs"
        elif n > 1 and blank[sample_id]:
            yield f"id {sample_id!r} has {n} rows, {blank[sample_id]} of them empty: remove these"


def _sentence(row: RleRow, fault: str) -> str:
    hint = "; an empty field stands for no object" if row.rle.strip().lower() in {"nan", "none", "null"} else ""
    return f"line {row.line}, id {row.sample_id!r}: {fault}{hint}"


def _check_overlaps(rows: Sequence[RleRow]) -> Iterator[str]:
    """Find overlaps by painting the line number of each row into its pixels, in images where anything overlaps."""
    by_id: dict[str, list[RleRow]] = {}
    for row in rows:
        by_id.setdefault(row.sample_id, []).append(row)
    for sample_id, group in by_id.items():
        if len(group) < 2 or decode_and_count([row.rle for row in group], group[0].shape)[1] == 0:
            continue
        lines = np.zeros(group[0].shape, np.int64)
        for row in group:
            mask = decode_mask(row.rle, row.shape)
            for line, n_px in Counter(lines[mask & (lines > 0)].tolist()).items():
                yield f"line {row.line}, id {sample_id!r}: shares {n_px} px with line {line}; objects must not overlap"
            lines[mask] = row.line


def _look_at_blanks(rows: Sequence[RleRow], competition: Competition) -> Iterator[str]:
    ids = {row.sample_id for row in rows}
    blank = sorted(ids - {row.sample_id for row in rows if row.rle.strip()})
    if not competition.single_object:
        if blank:
            yield f"{_count(blank, 'id')} without any object: {_name(blank)}"
    elif ids:
        fraction, tolerance = len(blank) / len(ids), 3 * sqrt(0.25 / len(ids))  # three standard errors of a share
        if not _BLANK_SHARE[0] - tolerance <= fraction <= _BLANK_SHARE[1] + tolerance:
            usual = f"{_BLANK_SHARE[0]:.0%} to {_BLANK_SHARE[1]:.0%}"
            yield f"{len(blank)} of {len(ids)} masks are empty ({fraction:.0%}); good submissions have {usual}"


def _look_at_masks(rows: Sequence[RleRow], competition: Competition, black: Collection[str]) -> Iterator[str]:
    if filled := sorted({row.sample_id for row in rows if row.sample_id in black}):
        yield f"{_count(filled, 'image')} without content, but with an object: {_name(filled)}"
    if competition.single_object:
        full = sorted(row.sample_id for row in rows if decode_mask(row.rle, row.shape).all())
        if full:
            yield f"{_count(full, 'mask')} over the whole tile, which the truth never has: {_name(full)}"


def _count(items: Sequence[str], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def _name(ids: Sequence[str]) -> str:
    return ", ".join(shorten_list(ids))
