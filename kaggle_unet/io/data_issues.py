"""Data issues: irregularities of a file, recorded before it is known which sample it belongs to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from kaggle_unet.masks.labels import count_pieces_and_holes
from kaggle_unet.types import DataIssue, Image, Labels, Mask


@dataclass(frozen=True)
class Note:
    """A data issue without its sample: its kind, how many pixels, objects or files, and what was done."""

    kind: str
    count: int
    action: str


def to_data_issues(sample_id: str, notes: Iterable[Note]) -> tuple[DataIssue, ...]:
    """Add the sample's id, and add up notes of the same kind."""
    counts: Counter[tuple[str, str]] = Counter()
    for note in notes:
        counts[note.kind, note.action] += note.count
    return tuple(DataIssue(sample_id, kind, count, action) for (kind, action), count in counts.items() if count)


def describe_objects(labels: Labels, n_contested: int = 0, n_empty: int = 0) -> tuple[Note, ...]:
    """Note what merging the masks found, instances in pieces or with holes, and if there are none or over 255."""
    pieces, holes = count_pieces_and_holes(labels)
    n = len(pieces) - 1
    return (
        Note("overlapping pixels of masks", n_contested, "each given to the smaller mask"),
        Note("masks without a pixel of their own", n_empty, "dropped"),
        Note("images without instances", int(n == 0), "kept, all background"),
        Note("instances in several pieces", int((pieces > 1).sum()), "each kept as one instance"),
        Note("instances with holes", int((holes > 0).sum()), "kept, holes stay background"),
        Note("more than 255 instances", n if n > 255 else 0, "numbered beyond 8 bits"),
    )


def describe_whole_mask(mask: Mask, image: Image) -> tuple[Note, ...]:
    """Note what a salt mask should not be: the whole image, or anything on an image without content."""
    return (
        Note("masks that cover the whole image", int(mask.all()), "kept"),
        Note("masks on images of one gray value", int(is_constant(image) and mask.any()), "kept"),
    )


def is_constant(image: Image) -> bool:
    """Return True if all pixels are equal."""
    return bool((image == image[:1, :1]).all())
