"""Truth that predictions are scored against: a source with masks, or a CSV that holds them.

Of DSB2018's second stage only a part was scored: rows whose Usage is Ignored are dropped, and an image that has no
others is not in the truth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, Source
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import open_archive, split_location
from kaggle_unet.io.tables import Table, read_csv, read_table
from kaggle_unet.masks.rle import decode, find_invalid_rles
from kaggle_unet.types import Labels

_MOST_PROBLEMS = 50


def read_truth(data: str, competition: Competition, settings: CompetitionSettings) -> Mapping[str, Labels]:
    """Read the true labels by id; where objects overlap, the smaller one wins, as in `paint_masks`."""
    table = _find_table(data)
    if table is None:
        return TruthOfImages(competition.read(data, settings, with_masks=True))
    objects = [row for row in _read_objects(table, competition) if row.sample_id not in settings.skip]
    _refuse_faults(table, objects)
    rles: dict[str, list[str]] = {row.sample_id: [] for row in sorted(objects, key=lambda row: row.sample_id)}
    for row in objects:
        rles[row.sample_id] += [row.rle] if row.rle.strip() else []
    shapes = {row.sample_id: row.shape for row in objects}
    return _CodedTruth(rles, shapes, competition.single_object)


@dataclass(frozen=True, eq=False)
class TruthOfImages(Mapping[str, Labels]):
    """Labels that come with their images."""

    source: Source

    def __getitem__(self, sample_id: str) -> Labels:
        """Read an image's labels."""
        return self.read(sample_id)[0]

    def read(self, sample_id: str) -> tuple[Labels, str]:
        """Read an image's labels and its type."""
        if sample_id not in self.source.ids:
            raise KeyError(sample_id)
        sample = self.source.load(sample_id)
        assert sample.labels is not None, "the source was opened with masks"
        return sample.labels, sample.kind

    def __iter__(self) -> Iterator[str]:
        return iter(self.source.ids)

    def __len__(self) -> int:
        return len(self.source.ids)


@dataclass(frozen=True, eq=False)
class _CodedTruth(Mapping[str, Labels]):
    rles: Mapping[str, list[str]]
    shapes: Mapping[str, tuple[int, int]]
    single_object: bool

    def __getitem__(self, sample_id: str) -> Labels:
        labels = decode(self.rles[sample_id], self.shapes[sample_id])
        return (labels > 0).astype(np.int32) if self.single_object else labels

    def __iter__(self) -> Iterator[str]:
        return iter(self.rles)

    def __len__(self) -> int:
        return len(self.rles)


@dataclass(frozen=True)
class _Object:
    line: int
    sample_id: str
    rle: str
    shape: tuple[int, int]


def _find_table(data: str) -> Table | None:
    """Read what is named if it is a CSV, bare, zipped or inside a zip."""
    path, place = split_location(data)
    name = (place or path.name).lower()
    if name.endswith(".csv.zip"):
        archive = open_archive(data)
        names = [name for name in archive.names if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise DataError(f"{archive.where()} holds {len(names)} CSV files, expected one; {archive.describe()}")
        return read_table(archive.read(names[0]), archive.where(names[0]))
    if not name.endswith(".csv") or path.is_dir():
        return None
    if not place:
        return read_csv(path)
    archive = open_archive(path)
    return read_table(archive.read(place), archive.where(place))


def _read_objects(table: Table, competition: Competition) -> Iterator[_Object]:
    """Yield the rows that are scored."""
    columns = _complete(table, competition)
    wanted = (competition.id_column, competition.rle_column, *columns)
    for line, (sample_id, rle, *others) in zip(table.lines, table.select(*wanted), strict=True):
        texts = dict(zip(columns, others, strict=True))
        if texts.get("Usage", "").strip().lower() == "ignored":
            continue
        sizes = [texts.get("Height", ""), texts.get("Width", "")]
        if all(size.isascii() and size.isdigit() for size in sizes):
            shape = int(sizes[0]), int(sizes[1])
        elif competition.fixed_shape is not None:
            shape = competition.fixed_shape
        else:
            raise DataError(f"{table.where}, line {line}: size {sizes[0]!r} x {sizes[1]!r}; expected whole numbers")
        yield _Object(line, sample_id, rle, shape)


def _complete(table: Table, competition: Competition) -> list[str]:
    """Return the further columns that are there; sizes must be, where they differ."""
    if competition.fixed_shape is None and not {"Height", "Width"} <= set(table.columns):
        raise DataError(
            f"{table.where} has no columns Height and Width, so the images' sizes are unknown; "
            "give the images instead (a zip or a folder): masks are also read from a labels CSV beside them"
        )
    return [name for name in ("Height", "Width", "Usage") if name in table.columns]


def _refuse_faults(table: Table, objects: list[_Object]) -> None:
    shapes: dict[str, tuple[int, int]] = {}
    problems = []
    faulty = find_invalid_rles([row.rle for row in objects], [row.shape[0] * row.shape[1] for row in objects])
    for index, row in enumerate(objects):
        if shapes.setdefault(row.sample_id, row.shape) != row.shape:
            problems.append(f"line {row.line}, id {row.sample_id!r}: its size differs from that in earlier rows")
        problems += [f"line {row.line}, id {row.sample_id!r}: {fault}" for fault in faulty.get(index, ())]
    if problems:
        raise DataError(f"{table.where}: {len(problems)} errors in its masks", problems[:_MOST_PROBLEMS])
    if not objects:
        raise DataError(f"{table.where} has no scored rows; expected masks")
