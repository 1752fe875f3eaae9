"""Masks of samples: files of images or annotations, a COCO data set, or the run-length codes of a CSV.

Labels are read with the image they belong to, whose size they must have, or without one (None) if the format itself
gives the size.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.io.annotation_formats import CocoImage, Objects, count_from_1, decode_coco, read_geojson, read_rois
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note, describe_objects, describe_whole_mask
from kaggle_unet.io.images import decode_mask, find_inside, is_jpeg
from kaggle_unet.io.label_images import (
    count_neighbours,
    find_void,
    has_soft_edges,
    number_classes,
    number_colours,
    rank,
    read_values,
    refuse_soft_edges,
)
from kaggle_unet.masks.column_runs import paint_instances, runs_of_mask
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.masks.rle import decode_and_count
from kaggle_unet.types import Image, Labels, Mask, Shape

File = tuple[bytes, str]  # content, and where it lies for messages
Masks = tuple[Labels, Mask | None, tuple[Note, ...]]  # labels, pixels that do not count, and what was found

_BINARY_VALUES = (1, 255, 65535)
_MOST_CLASSES = 255


@dataclass(frozen=True)
class FileMasks:
    """The mask files of each sample, and how they become labels."""

    files: Mapping[str, tuple[str, ...]]
    merge: Callable[[Iterable[File], Image | None], Masks]

    def stamp(self) -> str:
        """Describe what is not in the files: the rule's name and settings."""
        if isinstance(self.merge, partial):
            return f"{self.merge.func.__name__} {sorted(self.merge.keywords.items())}"
        return self.merge.__name__

    def read(self, archive: Archive, sample_id: str, image: Image | None) -> Masks:
        """Read a sample's labels; a DataError lists all faulty files."""
        return self.merge(((archive.read(name), archive.where(name)) for name in self.files[sample_id]), image)


@dataclass(frozen=True)
class RleMasks:
    """The run-length codes of each sample, down the columns from pixel 1 unless set otherwise."""

    rles: Mapping[str, tuple[str, ...]]
    where: str
    single_object: bool = False
    by_rows: bool = False
    from_zero: bool = False
    shapes: Mapping[str, Shape] | None = None

    @property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """No files for any sample."""
        return dict.fromkeys(self.rles, ())

    def stamp(self) -> str:
        """Hash the codes."""
        digest = hashlib.sha256()
        for sample_id in sorted(self.rles):
            digest.update("\n".join([sample_id, *self.rles[sample_id], ""]).encode())
        return digest.hexdigest() + (f" {self.by_rows} {self.from_zero}" if self.by_rows or self.from_zero else "")

    def read(self, archive: Archive, sample_id: str, image: Image | None) -> Masks:  # noqa: ARG002
        """Read a sample's labels."""
        said = (self.shapes or {}).get(sample_id)
        shape = _size(image) or said
        if shape is None:
            raise DataError(f"{self.where} does not say the size of {sample_id!r}; give the images as well")
        if said is not None and sorted(said) != sorted(shape):  # rows and columns are often exchanged
            _check_size(said, shape, f"{self.where}: id {sample_id!r}")
        try:
            rles = count_from_1(self.rles[sample_id]) if self.from_zero else self.rles[sample_id]
            labels, n_contested = decode_and_count(rles, shape[::-1] if self.by_rows else shape)
        except (DataError, ValueError) as error:
            raise DataError(f"{self.where}: id {sample_id!r}: {error}") from error
        labels = np.ascontiguousarray(labels.T) if self.by_rows else labels
        if self.single_object:
            mask = labels > 0
            return mask.astype(np.int32), None, () if image is None else describe_whole_mask(mask, image)
        return labels, None, describe_objects(labels, n_contested, len(rles) - int(labels.max(initial=0)))


@dataclass(frozen=True)
class CocoMasks:
    """The annotations of each sample in a COCO data set."""

    images: Mapping[str, CocoImage]
    where: str
    digest: str

    @property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """No files for any sample."""
        return dict.fromkeys(self.images, ())

    def stamp(self) -> str:
        """Hash the data set's file."""
        return self.digest

    def read(self, archive: Archive, sample_id: str, image: Image | None) -> Masks:  # noqa: ARG002
        """Read a sample's labels."""
        found = self.images[sample_id]
        where = f"{self.where}: image {sample_id!r}"
        _check_size(found.shape, _size(image), where)
        return _paint(decode_coco(found, where))


MaskReader = FileMasks | RleMasks | CocoMasks


def merge_object_masks(files: Iterable[File], image: Image | None) -> Masks:
    """Merge one binary file per object; a pixel in several of them goes to the smallest."""
    instances, problems, notes = [], [], list[Note]()
    shape = _size(image)
    for data, where in files:
        try:
            mask, more_notes = decode_mask(data, where)
            shape = shape or (mask.shape[0], mask.shape[1])
            _check_size(mask.shape, shape, where)
        except DataError as error:
            problems.append(str(error))
        else:
            instances.append(runs_of_mask(mask))
            notes += more_notes
    if problems:
        raise DataError(f"{len(problems)} masks cannot be used", problems)
    if shape is None:
        raise DataError("a folder without masks does not say its image's size; give the images as well")
    return _paint(Objects(shape, tuple(instances), notes=tuple(notes)))


def take_whole_mask(files: Iterable[File], image: Image | None) -> Masks:
    """Take one binary file per image: a single object, however many pieces it has."""
    ((data, where),) = files
    mask, notes = decode_mask(data, where)
    _check_size(mask.shape, _size(image), where)
    return mask.astype(np.int32), None, notes if image is None else (*notes, *describe_whole_mask(mask, image))


def take_label_image(
    files: Iterable[File], image: Image | None, *, ignore: int | None = None, cut_binary: bool = False
) -> Masks:
    """Take one file per image, whose numbers or colours tell the objects apart; black is background.

    With `cut_binary`, a file whose only number is 1, 255 or 65535 is read as a binary mask. A label image with a single
    object, numbered 1 and in several pieces, is cut apart by this rule; the note on components shows this.
    """
    ((data, where),) = files
    if is_jpeg(data):
        raise DataError(f"{where} is a JPEG, which does not keep numbers; save labels as PNG or TIFF")
    values, notes = read_values(data, where)
    _check_size(values.shape[:2], _size(image), where)
    void = find_void(values, notes, ignore, where)
    numbers = number_colours(values) if void is None else np.where(void, 0, number_colours(values))
    highest = int(numbers.max(initial=0))
    if cut_binary and highest in _BINARY_VALUES and ((numbers == 0) | (numbers == highest)).all():
        labels = components(numbers > 0)
        return labels, void, (*notes, _note_components(labels, highest), *describe_objects(labels))
    labels = relabel(numbers) if highest <= np.iinfo(np.int32).max else rank(numbers).astype(np.int32)
    if cut_binary:
        refuse_soft_edges(values, where)
        _refuse_background(labels, where)
    n_unused = highest - int(labels.max(initial=0))
    note = Note("unused numbers in label images", n_unused, "renumbered without gaps")
    return labels, void, (*notes, note, *_describe_void(void), *describe_objects(labels))


def _refuse_background(labels: Labels, where: str) -> None:
    """Refuse an object that reaches all four sides of the image and borders on half or more of the others."""
    on_sides = [set(side.tolist()) - {0} for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1])]
    n = int(labels.max(initial=0))
    for number in set.intersection(*on_sides):
        if count_neighbours(labels, number) >= max(2, (n - 1) / 2):
            message = f"{where} has an object that reaches all sides of the image and borders on most others, as"
            raise DataError(f"{message} background does; make it 0 or black, or set competition.masks_are")


def take_binary_mask(
    files: Iterable[File],
    image: Image | None,
    *,
    foreground: int | None = None,
    ignore: int | None = None,
    is_guessed: bool = False,
) -> Masks:
    """Take one binary file per image, whose connected components are the objects."""
    ((data, where),) = files
    values, notes = read_values(data, where)
    _check_size(values.shape[:2], _size(image), where)
    void = find_void(values, (), ignore, where) if ignore is not None else None
    grays = values if values.ndim == 2 else values.max(axis=2)
    is_soft = foreground is None and not is_guessed and void is None and has_soft_edges(grays)
    if is_jpeg(data) or is_soft:
        mask, more_notes = find_inside(grays, where, is_lossy=is_jpeg(data))
        mask, notes = mask ^ (foreground == 0), (*notes, *more_notes)
    else:
        mask = grays > 0 if foreground is None else grays == foreground
        if is_guessed and foreground is None and (grays[mask] != grays.max()).any():
            message = f"{where} has more values than one beside 0, unlike other masks, which are binary"
            raise DataError(f"{message}; set competition.masks_are to binary, or to labels")
    labels = components(mask if void is None else mask & ~void)
    note = _note_components(labels, int(grays.max(initial=0)))
    return labels, void, (*notes, note, *_describe_void(void), *describe_objects(labels))


def take_class_image(
    files: Iterable[File],
    image: Image | None,
    *,
    ignore: int | None = None,
    table: Mapping[str, int | tuple[int, int, int]] | None = None,
) -> Masks:
    """Take one file per image, whose numbers are classes; they are kept, or replaced by their places in a table."""
    ((data, where),) = files
    if table:
        labels, void, notes = number_classes(data, where, list(table.items()), ignore)
        _check_size(labels.shape, _size(image), where)
        return labels, void, (*notes, *_describe_void(void))
    values, notes = read_values(data, where)
    _check_size(values.shape[:2], _size(image), where)
    if values.ndim == 3 or values.max(initial=0) > _MOST_CLASSES:
        raise DataError(f"{where} has colours, or numbers over {_MOST_CLASSES}; expected the numbers of classes")
    void = find_void(values, notes, ignore, where)
    labels = (values if void is None else np.where(void, 0, values)).astype(np.int32)
    return labels, void, (*notes, *_describe_void(void))


def take_geojson(files: Iterable[File], image: Image | None) -> Masks:
    """Take one GeoJSON per image."""
    ((data, where),) = files
    return _paint(read_geojson(data, where, _size(image)))


def take_rois(files: Iterable[File], image: Image | None) -> Masks:
    """Take one zip of ImageJ's selections per image."""
    ((data, where),) = files
    return _paint(read_rois(data, where, _size(image)))


def _paint(objects: Objects) -> Masks:
    labels, n_contested, n_empty = paint_instances(objects.runs, objects.shape)
    void = (paint_instances(objects.ignored, objects.shape)[0] > 0) & (labels == 0) if objects.ignored else None
    return labels, void, (*objects.notes, *_describe_void(void), *describe_objects(labels, n_contested, n_empty))


def _note_components(labels: Labels, number: int) -> Note:
    n = int(labels.max(initial=0))
    is_plain = number == 1 and n == 1  # both readings agree
    return Note("components of binary masks", 0 if is_plain else n, "each one an instance")


def _describe_void(void: Mask | None) -> tuple[Note, ...]:
    return (Note("pixels of masks that do not count", 0 if void is None else int(void.sum()), "left out of the loss"),)


def _check_size(shape: tuple[int, ...], expected: tuple[int, ...] | None, where: str) -> None:
    if expected is not None and shape != expected:
        sizes = f"{shape[0]} x {shape[1]} pixels (height x width), its image {expected[0]} x {expected[1]}"
        turned = "; an orientation tag (EXIF) may turn one of them" if shape[::-1] == expected else ""
        raise DataError(f"{where} has {sizes}{turned}; export it at the image's size")


def _size(image: Image | None) -> Shape | None:
    return None if image is None else (image.shape[0], image.shape[1])
