"""Masks from image files: one per object, one per image, or a label image."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note, describe_objects, describe_overlap, describe_whole_mask
from kaggle_unet.io.images import decode_label_image, decode_mask, decode_mask_window
from kaggle_unet.masks.column_runs import Runs, find_column_runs, paint_instances
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.types import Image, Labels, Mask

File = tuple[bytes, str]  # content, and where it lies for messages

_BINARY_VALUES = (1, 255, 65535)


@dataclass(frozen=True)
class FileMasks:
    """The mask files of each sample, and how they become labels."""

    names: Mapping[str, tuple[str, ...]]
    merge: Callable[[Iterable[File], Image], tuple[Labels, tuple[Note, ...]]]

    @property
    def ids(self) -> Collection[str]:
        """Ids of all samples with masks."""
        return self.names.keys()

    def files(self, sample_id: str) -> tuple[str, ...]:
        """List the mask files of a sample."""
        return self.names[sample_id]

    def stamp(self) -> str:
        """Hash what is not in these files."""
        return self.merge.__name__

    def read(self, archive: Archive, sample_id: str, image: Image) -> tuple[Labels, tuple[Note, ...]]:
        """Read a sample's labels."""
        return self.merge(((archive.read(name), archive.where(name)) for name in self.names[sample_id]), image)


def merge_object_masks(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Merge one binary file per object; a pixel in several of them goes to the smallest."""
    problems: list[str] = []
    labels, n_contested, n_empty = paint_instances(list(_find_runs(files, image, problems)), image.shape[:2])
    if problems:
        raise DataError(f"{len(problems)} masks cannot be used", problems)
    return labels, (*describe_overlap(n_contested, n_empty), *describe_objects(labels))


def take_whole_mask(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Take one binary file per image: a single object, however many pieces it has."""
    ((data, where),) = files
    mask = _decode_checked(data, where, image)
    return mask.astype(np.int32), describe_whole_mask(mask, image)


def take_label_image(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Take one file per image, whose values are the objects' numbers; components are the objects of a binary one.

    A file is binary if its only value above 0 is 1, 255 or 65535. A label image with a single object, numbered 1 and
    in several pieces, is cut apart by this rule; the note on components shows it.
    """
    ((data, where),) = files
    numbers = decode_label_image(data, where)
    _check_size(numbers.shape, image, where)
    highest = int(numbers.max(initial=0))
    if highest in _BINARY_VALUES and ((numbers == 0) | (numbers == highest)).all():
        labels = components(numbers > 0)
        n = int(labels.max())
        is_plain = highest == 1 and n == 1  # both readings agree
        note = Note("components of binary masks", 0 if is_plain else n, "each one an instance")
    else:
        labels = relabel(numbers)
        note = Note("unused numbers in label images", highest - int(labels.max(initial=0)), "renumbered without gaps")
    return labels, (note, *describe_objects(labels))


def _find_runs(files: Iterable[File], image: Image, problems: list[str]) -> Iterator[Runs]:
    """Give the runs of the masks that can be used, and put what is wrong with the others into `problems`."""
    for data, where in files:
        try:
            window = decode_mask_window(data, where)
            _check_size(window.shape, image, where)
        except DataError as error:
            problems.append(str(error))
        else:
            part = window.pixels.astype(np.int32, order="C")
            yield find_column_runs(part, top=window.y, left=window.x, n_y=window.shape[0])[0]


def _decode_checked(data: bytes, where: str, image: Image) -> Mask:
    mask = decode_mask(data, where)
    _check_size(mask.shape, image, where)
    return mask


def _check_size(shape: tuple[int, ...], image: Image, where: str) -> None:
    if shape != image.shape[:2]:
        sizes = f"{shape[0]} x {shape[1]} pixels (height x width), its image {image.shape[0]} x {image.shape[1]}"
        raise DataError(f"{where} has {sizes}; export it at the image's size")
