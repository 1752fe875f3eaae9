"""What a person should know about a file, before it is known which sample it belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from kaggle_unet.masks.labels import count_pieces_and_holes
from kaggle_unet.types import DataIssue, Image, Labels, Mask


@dataclass(frozen=True)
class Note:
    """An oddity without its sample."""

    what: str
    count: int
    done: str


def to_data_issues(sample_id: str, notes: Iterable[Note]) -> tuple[DataIssue, ...]:
    """Name the sample, and add up notes of one kind.

    >>> [issue.count for issue in to_data_issues("a", [Note("hole", 1, "kept"), Note("hole", 2, "kept")])]
    [3]
    """
    counts: dict[tuple[str, str], int] = {}
    for note in notes:
        if note.count:
            counts[note.what, note.done] = counts.get((note.what, note.done), 0) + note.count
    return tuple(DataIssue(sample_id, what, count, done) for (what, done), count in counts.items())


def describe_objects(labels: Labels) -> tuple[Note, ...]:
    """Count instances in several pieces and with holes, and say when there are none or more than 8 bits hold.

    Pieces are 8-connected. A hole is a 4-connected region of anything else that one instance encloses; what lies
    outside the image's edge is not enclosed.
    """
    pieces, holes = count_pieces_and_holes(labels)
    n = len(pieces) - 1
    return (
        Note("images without instances", int(n == 0), "kept, all background"),
        Note("instances in several pieces", int((pieces > 1).sum()), "each kept as one instance"),
        Note("instances with holes", int((holes > 0).sum()), "kept, holes stay background"),
        Note("more than 255 instances", n if n > 255 else 0, "numbered beyond 8 bits"),
    )


def describe_overlap(n_contested: int, n_empty: int) -> tuple[Note, ...]:
    """Put into words what merging masks found."""
    return (
        Note("overlapping pixels of masks", n_contested, "each given to the smaller mask"),
        Note("masks without a pixel of their own", n_empty, "dropped"),
    )


def describe_whole_mask(mask: Mask, image: Image) -> tuple[Note, ...]:
    """Find what a salt mask should not be: the whole image, or anything on an image without content."""
    return (
        Note("masks that cover the whole image", int(mask.all()), "kept"),
        Note("masks on images of one gray value", int(is_constant(image) and mask.any()), "kept"),
    )


def is_constant(image: Image) -> bool:
    """Tell whether all pixels are equal."""
    return bool((image == image[0, 0]).all())
