"""CSV files as text: no column is taken for numbers, no field for missing.

Ids such as ``00441`` and ``8e13060816`` and blank run-length codes survive that way. Other people's files are read
exactly, with faults named by their line (`read_csv`); our own tables are DataFrames (`read_frame`, `to_csv`).
"""

import csv
import hashlib
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kaggle_unet.errors import DataError, reading
from kaggle_unet.io.archive import Archive, find_excess
from kaggle_unet.types import DataFrame

_LONGEST_FIELD = 2**28  # a run-length code of a large, ragged mask exceeds the csv module's 128 KiB


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    where: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def select(self, *names: str) -> Iterator[tuple[str, ...]]:
        """Iterate over the rows, with only some columns."""
        if missing := [name for name in names if name not in self.columns]:
            message = f"{self.where} has the columns {', '.join(self.columns)}; expected {', '.join(names)}"
            raise DataError(f"{message}: {', '.join(missing)} missing")
        places = [self.columns.index(name) for name in names]
        yield from (tuple(row[place] for place in places) for row in self.rows)


def read_table(data: bytes, where: str, *, allowed: int = 0, is_composed: bool = True) -> Table:
    r"""Read a CSV with a header; accents are composed (NFC), as in the names of files, unless `is_composed` is False.

    >>> list(read_table(b"id,z\n00441,\n", "depths.csv").select("id"))
    [('00441',)]
    """
    if excess := find_excess("CSV_LINES", data.count(b"\n") + data.count(b"\r"), allowed):
        raise DataError(f"{where} has too many lines: {excess}")
    try:
        text = data.decode("utf-8-sig")
        text = unicodedata.normalize("NFC", text) if is_composed else text
        rows = _read_quoted(text) if '"' in text else _read_plain(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where} is not a CSV (line {line}: {error}); save it again as UTF-8 text") from error
    except csv.Error as error:
        raise DataError(f"{where} is not a CSV ({error}); save it again as UTF-8 text") from error
    if not rows:
        raise DataError(f"{where} is empty; expected a header and rows")
    (_, columns), body = rows[0], rows[1:]
    if ragged := [f"line {line} has {len(row)} fields" for line, row in body if len(row) != len(columns)]:
        message = f"{where}: expected {len(columns)} fields on every line, as in its header"
        more = [f"… and {len(ragged) - 20} more"] if len(ragged) > 20 else []
        raise DataError(message, [*ragged[:20], *more])
    return Table(where, columns, tuple(row for _, row in body), tuple(line for line, _ in body))


def read_csv(path: str | Path, *, allowed: int = 0) -> Table:
    """Read any CSV on disk; `allowed` lines are accepted whatever the limit."""
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; name a CSV file") from error
    return read_table(data, str(path), allowed=allowed, is_composed=False)


def read_frame(path: Path, cure: str = "make its folder again", sha256: str | None = None) -> DataFrame:
    """Read a table that the kit wrote, checking its hash if given; every column is text, an empty field empty text."""
    import pandas as pd

    with reading(path, cure):
        data = path.read_bytes()
        if sha256 not in {None, hashlib.sha256(data).hexdigest()}:
            raise ValueError("not what was written, by its sha256")
        return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)


def read_folds(path: Path, sha256: str | None = None) -> DataFrame:
    """Read a folds.csv: id, fold (missing for samples without one), group, stratum and kind."""
    cure = "copy it again, or make its folder again. To set folds by hand, name a file in competition.folds"
    table = read_frame(path, cure, sha256)
    with reading(path, cure):
        return table.assign(fold=table["fold"].mask(table["fold"] == "").astype("Int64"))


def to_csv(table: DataFrame) -> str:
    r"""Format a table: numbers have at most six digits, and missing values are empty fields.

    >>> from pandas import DataFrame
    >>> to_csv(DataFrame({"id": ["00441", "a,b"], "loss": [None, 1 / 3]}))
    'id,loss\n00441,\n"a,b",0.333333\n'
    """
    return table.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def format_rows(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as CSV text with plain line ends."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(chain([header], rows))
    return text.getvalue()


def read_table_beside(archive: Archive, file_name: str) -> Table | None:
    """Look for a CSV in and around an archive, and read it."""
    found = archive.beside(file_name)
    if found is None:
        return None
    place, name = found
    return read_table(place.read(name), place.where(name))


def _read_plain(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Split text without quotes into numbered rows, in half the time that the csv module takes."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return [(number, tuple(line.split(","))) for number, line in enumerate(lines, start=1) if line]


def _read_quoted(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Split any text into numbered rows."""
    old_limit = csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    try:
        rows += ((reader.line_num, tuple(row)) for row in reader)  # rows before a fault are kept
        return [row for row in rows if row[1]]
    except csv.Error as error:
        raise csv.Error(f"line {rows[-1][0] + 1}: {error}") from error
    finally:
        csv.field_size_limit(old_limit)
