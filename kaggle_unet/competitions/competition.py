"""Competitions: what each of them defines, and the source of samples read from its files."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from kaggle_unet.competitions.memory import MemorySource
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import to_data_issues
from kaggle_unet.io.images import decode_image, read_shape
from kaggle_unet.io.masks import MaskReader
from kaggle_unet.metrics.score import ImageScore, score_image
from kaggle_unet.types import DataIssue, Image, Labels, Sample, Settings, Shape

CompetitionName = Literal["dsb2018", "tgs", "folder"]
MaskKind = Literal["labels", "binary", "colours", "classes", "files", "coco", "geojson", "rois", "rle"]


class CompetitionSettings(Settings):
    """The competition, and for `folder` the places of its files below `--data`."""

    name: CompetitionName
    """The competition."""
    images: str = "images"
    """`folder` only: subfolder of the images."""
    masks: str = "masks"
    """`folder` only: subfolder of the masks, or the file of a COCO data set or a CSV of run-length codes."""
    masks_are: MaskKind | None = None
    """`folder` only: what the masks are; by default it is guessed, and `make-targets` reports the guess and why. Label
    images (`labels`), `binary` masks, whose connected components become instances, a colour (`colours`) or a file
    (`files`) per object, class ids (`classes`), COCO JSON (`coco`), `geojson`, ImageJ selections (`rois`) or run-length
    codes (`rle`)."""
    classes: dict[str, int | tuple[int, int, int]] | None = None
    """Codec `classes` only: the name of each class with its number, or its colour `[red, green, blue]`, in the masks.
    Any other number or colour is an error, except that of `ignore`."""
    foreground: int | None = None
    """`folder` only: the value of objects in binary masks; by default all but 0."""
    ignore: int | None = None
    """`folder` only: the value of pixels that do not count, -1 for none; by default 255 in palette images."""
    channel: int | str | None = None
    """`folder` and `dsb2018`: the only channel of each image to read, by number from 0 or by the name that an OME-TIFF
    or ImageJ gives it; by default all are read."""
    folds: str | None = None
    """A CSV of your own folds, with columns `id,fold`, relative to the config; an id with an empty fold is left out."""
    skip: tuple[str, ...] = ()
    """Ids of samples to leave out."""


class Competition(ABC):
    """Files to samples, labels to CSV, and the score."""

    name: CompetitionName
    id_column = "ImageId"
    rle_column = "EncodedPixels"
    single_object = False  # an image's mask is one object, and one row of the CSV
    fixed_shape: Shape | None = None  # height and width if all images have the same
    sample_submissions: tuple[str, ...] = ()  # names of the files that list the ids of a test set

    @abstractmethod
    def read(
        self, data: str, settings: CompetitionSettings, *, with_masks: bool | None = None, skip_bad: bool = False
    ) -> "FileSource":
        """Pair the images and masks of what ``--data`` names (zip, folder, ``ZIP:place``); at most a few are decoded.

        Masks are required (True), left alone (False) or read if present (None). Ids are not skipped if masks are left
        alone. A DataError lists all files that are missing, duplicate or unread, unless `skip_bad` leaves out their
        samples.
        """

    def metric(self, true: Labels, pred: Labels) -> ImageScore:
        """Score one image as the competition does: mean precision over ten IoU thresholds, object by object."""
        return score_image(true, pred)


@dataclass(frozen=True)
class FileSource:
    """Samples by id, each read from its own files."""

    archive: Archive
    images: Mapping[str, str]
    masks: MaskReader | None
    classify: Callable[[Image], str]
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by id, such as the depth
    data_issues: tuple[DataIssue, ...] = ()  # of the source as a whole, found before any sample was read
    channel: int | str | None = None
    fixed_shape: Shape | None = None

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        return tuple(sorted(self.images))

    def load(self, sample_id: str) -> Sample:
        """Read one sample; a DataError names all its faulty files."""
        name = self.images[sample_id]
        image, notes = decode_image(self.archive.read(name), self.archive.where(name), self.channel)
        self._check_shape(name, image.shape)
        labels = ignore = None
        if self.masks is not None:
            labels, ignore, mask_notes = self.masks.read(self.archive, sample_id, image)
            notes = (*notes, *mask_notes)
        return Sample(
            id=sample_id,
            image=image,
            labels=labels,
            kind=self.classify(image),
            ignore=ignore,
            numbers=self.numbers.get(sample_id, {}),
            data_issues=to_data_issues(sample_id, notes),
        )

    def shape(self, sample_id: str) -> Shape:
        """Read an image's height and width from its header."""
        name = self.images[sample_id]
        with self.archive.open(name) as file:
            shape = read_shape(file, self.archive.where(name))
        self._check_shape(name, shape)
        return shape

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if self.fixed_shape is not None and shape[:2] != self.fixed_shape:
            sizes = "{} × {} pixels; expected {} × {}".format(*shape[:2], *self.fixed_shape)
            raise DataError(f"{self.archive.where(name)} has {sizes}, as all images of the competition; get it again")

    def fingerprint(self) -> str:
        """Hash all that the samples are made from; a zip and its unpacked folder have the same fingerprint."""
        files = set(self.images.values())
        stamp = ""
        if self.masks is not None:
            mask_files = self.masks.files
            files.update(name for sample_id in self.images for name in mask_files[sample_id])
            stamp = self.masks.stamp()
        numbers = json.dumps({key: dict(value) for key, value in self.numbers.items()}, sort_keys=True)
        channel = [] if self.channel is None else [repr(self.channel)]
        parts = [self.archive.fingerprint(files), stamp, numbers, *channel]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_shapes(
    ids: Sequence[str], shape: Callable[[str], Shape], set_aside: dict[str, str] | None = None
) -> dict[str, Shape]:
    """Read heights and widths; files without a sound header are set aside, or all named by a DataError."""
    shapes: dict[str, Shape] = {}
    faults: dict[str, str] = {}
    for id_ in ids:
        try:
            shapes[id_] = shape(id_)
        except DataError as error:
            faults[id_] = str(error)
    if set_aside is not None:
        set_aside |= faults
    elif faults:
        msg = f"{len(faults)} of {len(ids)} images can't be read; fix them, or set them aside by --skip-bad"
        raise DataError(msg, list(faults.values()))
    return shapes


Source = FileSource | MemorySource  # picklable, so that workers read in parallel
