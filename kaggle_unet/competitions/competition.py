"""A source of samples made of files: images in an archive, masks through one of the readers.

What a config says about where images and masks come from.

What every competition offers, and what it makes of files: a source of samples.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note, to_data_issues
from kaggle_unet.io.images import decode_image, decode_shape
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.types import DataIssue, Image, Labels, Sample, Settings

CompetitionName = Literal["dsb2018", "tgs", "folder"]


class CompetitionSettings(Settings):
    """Which competition, and for `folder` where its files lie below `--data`.

    Attributes
    ----------
    name : {"dsb2018", "tgs", "folder"}
        The competition.
    images : str
        `folder` only: subfolder of the images.
    masks : str
        `folder` only: subfolder of the label images (or binary masks, whose components become instances).
    folds : str, optional
        `folder` only: a CSV with columns `id,fold`, relative to the config; an id with an empty fold is left out.
    skip : tuple of str
        Ids to leave out, known bad ones.
    """

    name: CompetitionName
    images: str = "images"
    masks: str = "masks"
    folds: str | None = None
    skip: tuple[str, ...] = ()


class Source(Protocol):
    """Samples by id, read when they are asked for; picklable, so that workers read in parallel."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""

    @property
    def has_masks(self) -> bool:
        """Whether samples come with labels."""

    @property
    def data_issues(self) -> tuple[DataIssue, ...]:
        """What was found about the source as a whole, before any sample was read."""

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """What else is known of some samples, by id, such as their depth."""

    def load(self, sample_id: str) -> Sample:
        """Read one sample; a DataError names every faulty file of it."""

    def shape(self, sample_id: str) -> tuple[int, int]:
        """Height and width of an image, from its header alone."""

    def fingerprint(self) -> str:
        """Hash of all that the samples are made from; the same for a zip and its unpacked folder."""


class Competition(Protocol):
    """Files to samples, labels to CSV, and the score."""

    @property
    def name(self) -> str:
        """As in configs and on the command line."""

    @property
    def id_column(self) -> str:
        """The CSV's first column."""

    @property
    def rle_column(self) -> str:
        """The CSV's second column."""

    @property
    def single_object(self) -> bool:
        """Whether an image's mask is one object, and one row of the CSV."""

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """Height and width where all images have the same, else None."""

    @property
    def sample_submissions(self) -> tuple[str, ...]:
        """Names of the files that list the ids of a test set."""

    def read(self, data: str, settings: CompetitionSettings, *, with_masks: bool | None = None) -> Source:
        """Open what ``--data`` names.

        Parameters
        ----------
        data : str
            A zip, a folder, or ``ZIP:place``.
        settings : CompetitionSettings
            Ids to skip (only where masks are read), subfolders.
        with_masks : bool, optional
            True wants masks, False leaves them alone, None takes them if they are there.

        Returns
        -------
        Source
            The listing is checked, no image is decoded yet.

        Raises
        ------
        DataError
            If the listing is faulty; all faults are listed.
        """

    def metric(self, true: Labels, pred: Labels) -> ImageScore:
        """Score one image as the competition does."""


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
    data_issues: tuple[DataIssue, ...] = ()

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
            data_issues=to_data_issues(sample_id, notes),
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
