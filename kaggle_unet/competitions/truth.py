"""Labels by id, such as the truth to score against: from a source with masks, files without images, or a CSV.

Only a part of DSB2018's second stage was scored: rows whose Usage is Ignored are dropped, and an image that has no
other rows is not in the truth.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, FileSource
from kaggle_unet.competitions.mask_files import ANNOTATION_PATTERN, PICKLE_PATTERN, find_masks, locate_masks
from kaggle_unet.competitions.pairing import Pairing, RleRow, collect_rles, compose, find_unread, parse_shape
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive, FolderArchive, open_archive, split_location
from kaggle_unet.io.data_issues import to_data_issues
from kaggle_unet.io.images import SUFFIX_PATTERN
from kaggle_unet.io.masks import FileMasks, MaskReader, RleMasks
from kaggle_unet.io.tables import Table, read_table
from kaggle_unet.masks.rle import find_invalid_rles
from kaggle_unet.types import DataIssue, Labels, Shape

Found = tuple[Labels, str | None, tuple[DataIssue, ...]]
Read = Callable[[str], Found]

_MOST_PROBLEMS = 50


class Truth(Mapping[str, Labels]):
    """Labels by id, read one image at a time; `read` also returns the image's type, if known, and what was found."""

    def __init__(
        self, ids: Collection[str], read: Read, archive: Archive, files: Mapping[str, tuple[str, ...]], where: str = ""
    ) -> None:
        self.ids, self.read, self.archive, self.files, self.where = ids, read, archive, files, where

    def __getitem__(self, sample_id: str) -> Labels:
        if sample_id not in self.ids:
            raise KeyError(sample_id)
        return self.read(sample_id)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def read_truth(data: str, competition: Competition, settings: CompetitionSettings) -> Truth:
    """Read the true labels by id; where objects overlap, the smaller one wins, as in `paint_masks`."""
    table = _find_table(data)
    if table is None:
        files = find_label_files(data, settings) if competition.name == "folder" else None
        return files or _open_images(competition.read(data, settings, with_masks=True))
    skip = set(map(compose, settings.skip))
    objects = [row for row in _read_objects(table, competition) if row.sample_id not in skip]
    _refuse_faults(table, objects)
    rles = collect_rles((row.sample_id, row.rle) for row in objects)
    shapes = {row.sample_id: row.shape for row in objects}
    return _open_files(FolderArchive(Path()), RleMasks(rles, table.where, competition.single_object, shapes=shapes))


def _open_images(source: FileSource) -> Truth:
    """Take the labels that come with their images."""
    assert source.masks is not None, "the source was opened with masks"

    def read(sample_id: str) -> Found:
        sample = source.load(sample_id)
        assert sample.labels is not None
        return sample.labels, sample.kind, sample.data_issues

    files = {key: (*source.masks.files[key], source.images[key]) for key in source.ids}
    return Truth(source.ids, read, source.archive, files, getattr(source.masks, "where", ""))


def _open_files(archive: Archive, masks: MaskReader) -> Truth:
    """Take labels without images, identified by their files' names."""

    def read(sample_id: str) -> Found:
        labels, _, notes = masks.read(archive, sample_id, None)
        return labels, None, to_data_issues(sample_id, notes)

    return Truth(sorted(masks.files), read, archive, masks.files, getattr(masks, "where", ""))


def find_label_files(data: str, settings: CompetitionSettings) -> Truth | None:
    """Open a file or folder of labels without images, or return None if there are images."""
    path, place = split_location(data)
    archive: Archive
    is_zip = path.suffix.lower() == ".zip"
    is_rois = is_zip and not place and all(name.lower().endswith(".roi") for name in open_archive(path).names)
    if path.is_file() and not place and (is_rois or not is_zip):  # a zip of sets is not one of ImageJ's
        archive, places = FolderArchive(path.absolute().parent, depth=0), [path.name]
    else:
        archive, places = open_archive(data), [settings.masks, "."]
        image = re.compile(rf"(?:.*/)?{re.escape(settings.images)}/[^/]+{SUFFIX_PATTERN}")
        if any(map(image.fullmatch, archive.names)):
            return None
    pairing = Pairing(archive, {})
    for masks in places:
        chosen = settings.model_copy(update={"masks": masks})
        reader, _ = find_masks(pairing, chosen, named_by_masks=True)
        if reader is not None:
            if isinstance(reader, FileMasks) and masks not in archive.names:
                scope = re.compile(re.escape(compose(locate_masks(archive, chosen)[0])) + "(?P<id>.+)")
                noted = f".*{ANNOTATION_PATTERN}|{PICKLE_PATTERN}"  # images may lie beside their annotations
                find_unread(pairing, reader, scope, "label images or annotations", noted=noted)
            if problems := [problem for _, problem in pairing.problems]:
                msg = f"{archive.where()} has two files for an image, or unread ones; convert or remove them"
                raise DataError(msg, problems)
            return _open_files(archive, reader)
    raise DataError(f"{archive.where()} has neither images nor labels; {archive.describe()}")


def _find_table(data: str) -> Table | None:
    """Read the named place if it is a CSV, plain, zipped or inside a zip."""
    path, place = split_location(data)
    name = (place or path.name).lower()
    if name.endswith(".csv.zip"):
        archive = open_archive(data)
        names = [name for name in archive.names if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise DataError(f"{archive.where()} holds {len(names)} CSV files, expected one; {archive.describe()}")
    elif not name.endswith(".csv") or path.is_dir():
        return None
    else:
        archive, names = (open_archive(path), [place]) if place else (FolderArchive(path.parent), [path.name])
    return read_table(archive.read(names[0]), archive.where(names[0]))


def _read_objects(table: Table, competition: Competition) -> Iterator[RleRow]:
    """Yield the rows that are scored; sizes are required unless all images have the same."""
    if competition.fixed_shape is None and not {"Height", "Width"} <= set(table.columns):
        raise DataError(
            f"{table.where} has no columns Height and Width, so the images' sizes are unknown; "
            "give the images instead (a zip or a folder): masks are also read from a labels CSV beside them"
        )
    columns = [name for name in ("Height", "Width", "Usage") if name in table.columns]
    wanted = (competition.id_column, competition.rle_column, *columns)
    for line, (sample_id, rle, *others) in zip(table.lines, table.select(*wanted), strict=True):
        texts = dict(zip(columns, others, strict=True))
        if texts.get("Usage", "").strip().lower() == "ignored":
            continue
        sizes = [texts.get("Height", ""), texts.get("Width", "")]
        shape = parse_shape(*sizes) or competition.fixed_shape
        if shape is None:
            raise DataError(f"{table.where}, line {line}: size {sizes[0]!r} x {sizes[1]!r}; expected whole numbers")
        yield RleRow(line, sample_id, rle, shape)


def _refuse_faults(table: Table, objects: list[RleRow]) -> None:
    shapes: dict[str, Shape] = {}
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
