"""What every competition offers, and what it makes of files: a source of samples."""

from collections.abc import Mapping
from typing import Protocol

from kaggle_unet.competitions.settings import CompetitionSettings
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.types import Labels, Oddity, Sample


class Source(Protocol):
    """Samples by id, read when they are asked for; picklable, so that workers read in parallel."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""

    @property
    def has_masks(self) -> bool:
        """Whether samples come with labels."""

    @property
    def oddities(self) -> tuple[Oddity, ...]:
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
