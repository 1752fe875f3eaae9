"""A source of samples made of files: images in an archive, masks through one of the readers."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from kaggle_unet.competitions.archive import Archive
from kaggle_unet.competitions.images import decode_image, decode_shape
from kaggle_unet.competitions.oddities import Note, to_oddities
from kaggle_unet.types import Image, Labels, Oddity, Sample


class MaskReader(Protocol):
    """Masks of one sample at a time, however they are stored."""

    @property
    def ids(self) -> Collection[str]:
        """Ids of all samples with masks."""

    def files(self, sample_id: str) -> tuple[str, ...]:
        """Files of the archive that are read for a sample."""

    def stamp(self) -> str:
        """Hash of what is not in these files."""

    def read(self, archive: Archive, sample_id: str, image: Image) -> tuple[Labels, tuple[Note, ...]]:
        """Labels of one sample, int32 (H, W), and what was odd; a DataError lists all faulty files."""


@dataclass(frozen=True)
class FileSource:
    """Samples by id, each read from its own files."""

    archive: Archive
    images: Mapping[str, str]
    masks: MaskReader | None
    classify: Callable[[Image], str]
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    oddities: tuple[Oddity, ...] = ()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        return tuple(sorted(self.images))

    @property
    def has_masks(self) -> bool:
        """Whether samples come with labels."""
        return self.masks is not None

    def load(self, sample_id: str) -> Sample:
        """Read one sample."""
        name = self.images[sample_id]
        image, notes = decode_image(self.archive.read(name), self.archive.where(name))
        labels = None
        if self.masks is not None:
            labels, mask_notes = self.masks.read(self.archive, sample_id, image)
            notes = (*notes, *mask_notes)
        return Sample(
            id=sample_id,
            image=image,
            labels=labels,
            kind=self.classify(image),
            numbers=self.numbers.get(sample_id, {}),
            oddities=to_oddities(sample_id, notes),
        )

    def shape(self, sample_id: str) -> tuple[int, int]:
        """Read an image's height and width from its header."""
        name = self.images[sample_id]
        return decode_shape(self.archive.read(name), self.archive.where(name))

    def fingerprint(self) -> str:
        """Hash all that the samples are made from."""
        files = set(self.images.values())
        stamp = ""
        if self.masks is not None:
            files.update(name for sample_id in self.images for name in self.masks.files(sample_id))
            stamp = self.masks.stamp()
        numbers = json.dumps({key: dict(value) for key, value in self.numbers.items()}, sort_keys=True)
        return hashlib.sha256("\n".join([self.archive.fingerprint(files), stamp, numbers]).encode()).hexdigest()
