"""Masks of samples: one file per object, one per image, a label image, or run-length codes of a CSV."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note, describe_objects, describe_whole_mask
from kaggle_unet.io.images import decode_label_image, decode_mask, decode_mask_window
from kaggle_unet.masks.column_runs import find_column_runs, paint_instances
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.masks.rle import decode_and_count
from kaggle_unet.types import Image, Labels

File = tuple[bytes, str]  # content, and where it lies for messages

_BINARY_VALUES = (1, 255, 65535)


@dataclass(frozen=True)
class FileMasks:
    """The mask files of each sample, and how they become labels."""

    files: Mapping[str, tuple[str, ...]]
    merge: Callable[[Iterable[File], Image], tuple[Labels, tuple[Note, ...]]]

    def stamp(self) -> str:
        """Hash what is not in the files: the rule's name."""
        return self.merge.__name__

    def read(self, archive: Archive, sample_id: str, image: Image) -> tuple[Labels, tuple[Note, ...]]:
        """Read a sample's labels and notes on them; a DataError lists all faulty files."""
        return self.merge(((archive.read(name), archive.where(name)) for name in self.files[sample_id]), image)


@dataclass(frozen=True)
class RleMasks:
    """The run-length codes of each sample."""

    rles: Mapping[str, tuple[str, ...]]
    where: str
    single_object: bool

    @property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """No files for any sample."""
        return dict.fromkeys(self.rles, ())

    def stamp(self) -> str:
        """Hash the codes."""
        digest = hashlib.sha256()
        for sample_id in sorted(self.rles):
            digest.update("\n".join([sample_id, *self.rles[sample_id], ""]).encode())
        return digest.hexdigest()

    def read(self, archive: Archive, sample_id: str, image: Image) -> tuple[Labels, tuple[Note, ...]]:  # noqa: ARG002
        """Read a sample's labels."""
        rles = self.rles[sample_id]
        try:
            labels, n_contested = decode_and_count(rles, image.shape[:2])
        except DataError as error:
            raise DataError(f"{self.where}: id {sample_id!r}: {error}") from error
        if self.single_object:
            mask = labels > 0
            return mask.astype(np.int32), describe_whole_mask(mask, image)
        return labels, describe_objects(labels, n_contested, len(rles) - int(labels.max(initial=0)))


MaskReader = FileMasks | RleMasks


def merge_object_masks(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Merge one binary file per object; a pixel in several of them goes to the smallest."""
    instances, problems = [], []
    for data, where in files:
        try:
            window = decode_mask_window(data, where)
            if window.shape != image.shape[:2]:
                raise _wrong_size(window.shape, image, where)
        except DataError as error:
            problems.append(str(error))
        else:
            part = window.pixels.astype(np.int32, order="C")
            instances.append(find_column_runs(part, top=window.y, left=window.x, n_y=window.shape[0])[0])
    if problems:
        raise DataError(f"{len(problems)} masks cannot be used", problems)
    labels, n_contested, n_empty = paint_instances(instances, image.shape[:2])
    return labels, describe_objects(labels, n_contested, n_empty)


def take_whole_mask(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Take one binary file per image: a single object, however many pieces it has."""
    ((data, where),) = files
    mask = decode_mask(data, where)
    if mask.shape != image.shape[:2]:
        raise _wrong_size(mask.shape, image, where)
    return mask.astype(np.int32), describe_whole_mask(mask, image)


def take_label_image(files: Iterable[File], image: Image) -> tuple[Labels, tuple[Note, ...]]:
    """Take one file per image, whose values are the objects' numbers; components are the objects of a binary one.

    A file is binary if its only value above 0 is 1, 255 or 65535. A label image with a single object, numbered 1 and
    in several pieces, is cut apart by this rule; the note on components shows it.
    """
    ((data, where),) = files
    numbers = decode_label_image(data, where)
    if numbers.shape != image.shape[:2]:
        raise _wrong_size(numbers.shape, image, where)
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


def _wrong_size(shape: tuple[int, ...], image: Image, where: str) -> DataError:
    sizes = f"{shape[0]} x {shape[1]} pixels (height x width), its image {image.shape[0]} x {image.shape[1]}"
    return DataError(f"{where} has {sizes}; export it at the image's size")
