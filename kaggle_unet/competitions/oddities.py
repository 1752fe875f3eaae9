"""What a person should know about a file, before it is known which sample it belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from kaggle_unet.masks.topology import count_pieces_and_holes
from kaggle_unet.types import Image, Labels, Mask, Oddity


@dataclass(frozen=True)
class Note:
    """An oddity without its sample.

    Attributes
    ----------
    what : str
        Kind of oddity, the same text for the same kind.
    count : int
        How many pixels, objects or files; 0 for none.
    done : str
        What was done about it.
    """

    what: str
    count: int
    done: str


def to_oddities(sample_id: str, notes: Iterable[Note]) -> tuple[Oddity, ...]:
    """Name the sample, and add up notes of one kind.

    Parameters
    ----------
    sample_id : str
        Whose notes they are.
    notes : iterable of Note
        Notes with a count of 0 are left out.

    Returns
    -------
    tuple of Oddity
        One for each kind, in order of appearance.

    Examples
    --------
    >>> [odd.count for odd in to_oddities("a", [Note("hole", 1, "kept"), Note("hole", 2, "kept")])]
    [3]
    """
    counts: dict[tuple[str, str], int] = {}
    for note in notes:
        if note.count:
            counts[note.what, note.done] = counts.get((note.what, note.done), 0) + note.count
    return tuple(Oddity(sample_id, what, count, done) for (what, done), count in counts.items())


def describe_objects(labels: Labels) -> tuple[Note, ...]:
    """Count instances in several pieces and with holes, and say when there are none or more than 8 bits hold.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Consecutive from 1.

    Returns
    -------
    tuple of Note
        Counts may be 0.

    Notes
    -----
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
    """Put into words what merging masks found.

    Parameters
    ----------
    n_contested : int
        Pixels in several masks.
    n_empty : int
        Masks that were left without a pixel.

    Returns
    -------
    tuple of Note
        Counts may be 0.
    """
    return (
        Note("overlapping pixels of masks", n_contested, "each given to the smaller mask"),
        Note("masks without a pixel of their own", n_empty, "dropped"),
    )


def describe_whole_mask(mask: Mask, image: Image) -> tuple[Note, ...]:
    """Find what a salt mask should not be: the whole image, or anything on an image without content.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        The only object.
    image : uint8 array, shape (H, W) or (H, W, 3)
        Its image.

    Returns
    -------
    tuple of Note
        Counts may be 0.
    """
    return (
        Note("masks that cover the whole image", int(mask.all()), "kept"),
        Note("masks on images of one gray value", int(is_constant(image) and mask.any()), "kept"),
    )


def is_constant(image: Image) -> bool:
    """Tell whether all pixels are equal.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        At least one pixel.

    Returns
    -------
    bool
        True for the black tiles of TGS.
    """
    return bool((image == image[0, 0]).all())
