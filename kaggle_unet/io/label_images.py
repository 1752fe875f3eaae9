"""Label images and binary masks as files hold them: numbers, colours, an alpha channel, the halos of a JPEG.

A few files decide what kind a set's masks are, so that an image with a single object is read like the others.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.data_issues import Note
from kaggle_unet.io.images import apply_alpha, is_jpeg, read_pixels
from kaggle_unet.masks.labels import areas_px, components, count_pieces_and_holes
from kaggle_unet.types import Labels, Mask

N_LOOKED_AT = 8
_MOST_CLASSES = 32
_LEAST_INVERTED = 0.2  # of the pixels: what is left of the background where nuclei are crowded
_FEWEST_PIECES = 3  # of a label image's median number, from which numbers are taken for classes
_FEWEST_PX, _MOST_LEVELS = 4, 16  # of the median object; of a mask without soft edges
NO_VALUE = -1  # competition.ignore and competition.foreground if no value is meant
_VOID, _VOID_COLOUR = 255, (224, 224, 192)  # PASCAL VOC's outlines and objects that are too hard: index, and colour

Values = NDArray[Any]  # (H, W): integers, or (H, W, 3): colours


def read_values(data: bytes, where: str) -> tuple[Values, tuple[Note, ...]]:
    """Read the numbers of a mask file, from its alpha channel if they are there, or its colours if they differ."""
    pixels, notes = read_pixels(data, where, "labels")
    if "palette" in {note.kind for note in notes} and pixels.ndim == 2:
        pixels = _make_black_0(pixels, read_pixels(data, where, "mask")[0])
    values, alpha_notes = apply_alpha(pixels)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.dtype.kind == "f" and (np.isfinite(values).all() and (values == np.floor(values)).all()):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu" or values.min(initial=0) < 0:
        message = f"{where} holds values from {values.min()} to {values.max()}"
        raise DataError(f"{message}; expected whole numbers from 0: export the labels again")
    return values, (*notes, *alpha_notes)


def _make_black_0(indices: Values, colours: Values) -> Values:
    """Shift the indices of a palette by one if a colour other than the first is black, which is background."""
    is_black = (colours == 0).all(axis=2)
    return np.where(is_black, 0, indices.astype(np.int32) + 1) if indices[is_black].any() else indices


def number_colours(values: Values) -> Values:
    """Assign a number to each colour, 0 to black."""
    return values if values.ndim == 2 else rank(values.astype(np.int64) @ [1 << 32, 1 << 16, 1])


def rank(values: Values) -> Values:
    """Replace values by their ranks 0, 1, …, where 0 always counts as a value."""
    zero = np.zeros(1, values.dtype)
    return np.unique(np.append(values, zero), return_inverse=True)[1][:-1].reshape(values.shape)


def number_classes(
    data: bytes, where: str, table: Sequence[tuple[str, int | tuple[int, int, int]]], ignore: int | None
) -> tuple[Labels, Mask | None, tuple[Note, ...]]:
    """Replace the numbers or colours of classes by 0…K−1; what is neither a class nor `ignore` (a gray) is an error."""
    if is_jpeg(data):
        raise DataError(f"{where} is a JPEG, which does not keep classes; save them as PNG or TIFF")
    by_colour = any(not isinstance(value, int) for _, value in table)
    pixels, notes = read_pixels(data, where, "mask" if by_colour else "labels")
    pixels = np.atleast_3d(pixels[..., :-1] if pixels.shape[2:] in {(2,), (4,)} else pixels).astype(np.int64)
    if not by_colour and (pixels != pixels[..., :1]).any():
        raise DataError(f"{where} has colours, but competition.classes has numbers; give colours there")
    scale = 0x10101 if by_colour else 1  # a number among colours is a gray
    rgb = [1 << 16, 1 << 8, 1]
    codes = pixels @ rgb if pixels.shape[2] == 3 and by_colour else pixels[..., 0] * scale
    labels = np.full(codes.shape, NO_VALUE, dtype=np.int32)
    for number, (_, value) in enumerate(table):
        labels[codes == (value * scale if isinstance(value, int) else np.dot(value, rgb))] = number
    void = (codes == (NO_VALUE if ignore is None else ignore * scale)) & (labels < 0)
    unknown, counts = np.unique(codes[(labels < 0) & ~void], return_counts=True)
    if unknown.size:
        value = int(unknown[counts.argmax()])
        shown = [value >> 16, value >> 8 & 255, value & 255] if by_colour else value
        what = f"{where} has {counts.sum()} pixels of no class, most of them {shown}"
        raise DataError(f"{what}; add a class to competition.classes, or set competition.ignore")
    return np.maximum(labels, 0), void if void.any() else None, notes


def find_void(values: Values, notes: tuple[Note, ...], ignore: int | None, where: str) -> Mask | None:
    """Find the pixels that do not count: those of a value, or of PASCAL VOC's palette index 255 or its colour.

    A gray of 255 that borders on half or more of the other objects may mean the same, which is an error.
    """
    grays = np.atleast_3d(values)[..., 0].astype(np.int64)
    if values.ndim == 3:
        grays[(values != values[..., :1]).any(axis=2)] = NO_VALUE
    if ignore is not None:
        void = grays == ignore
    elif values.ndim == 3 and (found := (values == _VOID_COLOUR).all(axis=2)).any():
        void = found
    elif values.max(initial=0) == _VOID and not (grays == _VOID - 1).any():
        void = grays == _VOID
        if "palette" not in {note.kind for note in notes}:
            numbers = number_colours(values)
            if 0 < 2 * np.count_nonzero(void) < void.size:  # more is background
                n = count_neighbours(numbers, int(numbers[void][0]))
                if n >= max(2, (len(np.unique(numbers)) - 2) / 2):
                    message = f"{where}: 255 borders on {n} objects, as do pixels that should not count"
                    raise DataError(f"{message}; set competition.ignore to 255, or to {NO_VALUE} if it is an object")
            return None
    else:
        return None
    return void if void.any() else None


def count_neighbours(values: Values, number: int) -> int:
    """Count the other objects that share a side with one."""
    pairs = [(values[1:], values[:-1]), (values[:, 1:], values[:, :-1])]
    beside = [other[here == number] for one, two in pairs for here, other in ((one, two), (two, one))]
    return len(set(np.unique(np.concatenate(beside)).tolist()) - {0, number})


def guess_kind(archive: Archive, files: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """Return the kind of masks and the reason, judging by some of the files."""
    if any(len(names) > 1 for names in files.values()):
        return "files", "several files for an image"
    names = sorted(name for (name,) in filter(None, files.values()))
    looked_at = [names[i * (len(names) - 1) // (N_LOOKED_AT - 1)] for i in range(N_LOOKED_AT if names else 0)]
    values: dict[str, Values] = {}
    for name in dict.fromkeys(looked_at):
        data = archive.read(name)
        if is_jpeg(data):
            return "binary", "JPEGs"
        with suppress(DataError):  # reported when its sample is read
            values[name] = read_values(data, name)[0]
    if not values:
        return "labels", "nothing to tell by"
    where, is_colour = archive.where(names[0]), any(found.ndim == 3 for found in values.values())
    numbers = list(map(number_colours, values.values()))
    present = [np.unique(found).tolist() for found in numbers]
    if not any(0 in found for found in present):
        shown = ", ".join(map(str, present[0][:5]))
        raise DataError(
            f"{where} has the values {shown} and no 0, which is background; if two values stand for background and "
            "objects, set competition.masks_are to binary and competition.foreground to the objects' value (such as "
            f"{present[0][-1]}); else competition.masks_are to labels"
        )
    for name, found in values.items():
        refuse_soft_edges(found, archive.where(name))
    others = sorted({number for found in present for number in found} - {0})
    if all(len({0, *found}) <= 2 for found in present):
        if _refuse_inverted([found > 0 for found in numbers], where) <= 1:
            return "labels", "one object each"
        shown = ", ".join(map(str, others[:3]))
        return "binary", "one colour beside black" if is_colour else f"no other values than 0 and {shown}"
    if len(others) <= _MOST_CLASSES:
        _refuse_classes([rank(found).astype(np.int32) for found in numbers], where)
    most = max(len(found) - 1 for found in present)
    return ("colours", f"up to {most} in an image") if is_colour else ("labels", f"up to {most} numbers in an image")


def has_soft_edges(values: Values) -> bool:
    """Return True for levels up to white, or colours, that have hardly a pixel each, or several pieces."""
    if values.ndim == 2 and int(values.max(initial=0)) not in {255, 65535}:
        return False
    labels = rank(number_colours(values)).astype(np.int32)
    if labels.max(initial=0) <= _MOST_LEVELS:
        return False
    pieces = count_pieces_and_holes(labels)[0][1:] if values.ndim == 2 else ()
    return bool(np.median(areas_px(labels)) < _FEWEST_PX or np.median([*pieces, 0]) >= _FEWEST_PIECES)


def refuse_soft_edges(values: Values, where: str) -> None:
    """Refuse levels of soft edges that are about to be taken for objects."""
    if has_soft_edges(values):
        msg = f"{where} has numbers or colours in crumbs, as the soft edges of binary masks have; draw masks without "
        raise DataError(f"{msg}smoothing, or set competition.masks_are: binary, or labels if each is an object")


def _refuse_inverted(masks: Sequence[Mask], example: str) -> int:
    """Refuse binary masks whose background is in far more pieces than the rest; return the most pieces of any mask."""
    n_objects = [int(components(mask).max(initial=0)) for mask in masks]
    n_background = sum(int(components(~mask, connectivity=4).max(initial=0)) for mask in masks)
    covers = sum(map(np.count_nonzero, masks)) / sum(mask.size for mask in masks)
    if covers > _LEAST_INVERTED and n_background > 2 * sum(n_objects):
        raise DataError(
            f"{example}: the pixels of value 0 are in more pieces than the others, so perhaps they are the objects; "
            "then set competition.masks_are to binary and competition.foreground to 0, else to binary alone"
        )
    return max(n_objects)


def _refuse_classes(numbers: Sequence[Labels], example: str) -> None:
    """Refuse numbers or colours that are spread over the images as classes are and objects are not."""
    pieces = np.concatenate([count_pieces_and_holes(found)[0][1:] for found in numbers if found.max() > 1])
    n = int(np.median(pieces[pieces > 0]))
    if n >= _FEWEST_PIECES:
        raise DataError(
            f"{example} has numbers in {n} pieces each, as classes are; set competition.masks_are to classes, to "
            "binary to make an object of each component, or to labels if they are objects indeed"
        )
