"""What the images of masks are: label images, binary masks, colours, or a file for each object.

A few files decide for all, so that an image with a single object is read like the others.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from kaggle_unet.competitions.competition import MaskKind
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.images import is_jpeg
from kaggle_unet.io.label_images import number_colours, read_values
from kaggle_unet.masks.labels import components, count_pieces_and_holes
from kaggle_unet.types import Labels

_N_LOOKED_AT = 8
_MOST_CLASSES = 32
_LEAST_INVERTED = 0.2  # of the pixels: what is left of the background where nuclei are crowded
_FEWEST_PIECES = 3  # of the median number of a label image, from which on numbers are rather classes


def guess_kind(archive: Archive, files: Mapping[str, tuple[str, ...]]) -> tuple[MaskKind, str]:
    """Tell the kind of masks by some of the files, and why."""
    if any(len(names) > 1 for names in files.values()):
        return "files", "several files for an image"
    names = sorted(name for (name,) in filter(None, files.values()))
    looked_at = [names[i * (len(names) - 1) // (_N_LOOKED_AT - 1)] for i in range(_N_LOOKED_AT if names else 0)]
    values = []
    for name in dict.fromkeys(looked_at):
        data = archive.read(name)
        if is_jpeg(data):
            return "binary", "JPEGs"
        with suppress(DataError):  # it is named when its sample is read
            values.append(read_values(data, name)[0])
    if not values:
        return "labels", "nothing to tell by"
    where, is_colour = archive.where(names[0]), any(found.ndim == 3 for found in values)
    numbers = [np.unique(number_colours(found), return_inverse=True)[1].reshape(found.shape[:2]) for found in values]
    present = [np.unique(number_colours(found)).tolist() for found in values]
    _refuse_without_0(present, where)
    others = {number for found in present for number in found} - {0}
    if all(len(set(found) - {0}) <= 1 for found in present):
        labels = [components(found > 0) for found in numbers]
        _refuse_inverted(labels, where)
        if all(found.max(initial=0) <= 1 for found in labels):
            return "labels", "one object each"
        shown = ", ".join(map(str, sorted(others)[:3]))
        return "binary", "one colour beside black" if is_colour else f"no other values than 0 and {shown}"
    _refuse_classes([found.astype(np.int32) for found in numbers], len(others), where)
    most = max(len(found) - 1 for found in present)
    return ("colours", f"up to {most} in an image") if is_colour else ("labels", f"up to {most} numbers in an image")


def _refuse_without_0(present: Sequence[Sequence[int]], example: str) -> None:
    if not any(0 in found for found in present):
        values = ", ".join(map(str, present[0][:5]))
        message = f"{example} has the values {values} and no 0, which is background; if two values stand for background"
        raise DataError(
            f"{message} and objects, set competition.masks_are to binary and competition.foreground to "
            f"the objects' value (such as {present[0][-1]}); else competition.masks_are to labels"
        )


def _refuse_inverted(labels: Sequence[Labels], example: str) -> None:
    """Refuse binary masks whose background is in far more pieces than what would be the objects."""
    n_objects = sum(int(found.max(initial=0)) for found in labels)
    n_background = sum(int(components(found == 0, connectivity=4).max(initial=0)) for found in labels)
    covers = sum(np.count_nonzero(found) for found in labels) / sum(found.size for found in labels)
    if covers > _LEAST_INVERTED and n_background > 2 * n_objects:
        message = (
            f"{example}: the pixels of value 0 are in more pieces than the others, so perhaps they are the objects"
        )
        raise DataError(
            f"{message}; then set competition.masks_are to binary and competition.foreground to 0, else to binary alone"
        )


def _refuse_classes(numbers: Sequence[Labels], n_numbers: int, example: str) -> None:
    """Refuse numbers or colours that are spread over the images as classes are, and objects are not."""
    several = [found for found in numbers if found.max() > 1]
    pieces = np.concatenate([count_pieces_and_holes(found)[0][1:] for found in several])
    if n_numbers <= _MOST_CLASSES and np.median(pieces[pieces > 0]) >= _FEWEST_PIECES:
        message = f"{example} has numbers in {int(np.median(pieces[pieces > 0]))} pieces each, as classes are; set "
        raise DataError(
            f"{message}competition.masks_are to classes, to binary to make an object of each component, or "
            "to labels if they are objects indeed"
        )
