"""Label images and binary masks as files hold them: numbers, colours, an alpha channel, the halos of a JPEG."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.io.data_issues import Note
from kaggle_unet.io.images import read_pixels
from kaggle_unet.masks.labels import relabel
from kaggle_unet.types import Labels, Mask

NO_VALUE = -1  # competition.ignore and competition.foreground where no value is meant
_VOID = 255  # of PASCAL VOC's palette images: outlines, and objects that are too hard

Values = NDArray[Any]  # (H, W): integers, or (H, W, 3): colours


def read_values(data: bytes, where: str) -> tuple[Values, tuple[Note, ...]]:
    """Read the numbers of a mask's file, from its alpha channel if they lie there; colours where these differ."""
    pixels, notes = read_pixels(data, where, "labels")
    if "palette" in {note.kind for note in notes} and pixels.ndim == 2:
        pixels = _make_black_0(pixels, read_pixels(data, where, "mask")[0])
    values, alpha_notes = _apply_alpha(pixels)
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
    """Shift the indices of a palette by one where another than the first is black, which is background."""
    is_black = (colours == 0).all(axis=2)
    return np.where(is_black, 0, indices.astype(np.int32) + 1) if indices[is_black].any() else indices


def _apply_alpha(pixels: Values) -> tuple[Values, tuple[Note, ...]]:
    """Take the alpha channel where all that is opaque has one colour, else make background of what is transparent."""
    if pixels.shape[2:] not in {(2,), (4,)}:
        return pixels, ()
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if (alpha == alpha.flat[0]).all():
        return colours, (Note("opaque alpha channel", 1, "alpha dropped"),)
    is_opaque = alpha > alpha.max() / 2
    if (colours[is_opaque] == colours[is_opaque][:1]).all():
        return is_opaque.astype(np.uint8), (Note("masks in the alpha channel", 1, "read from there"),)
    return colours * is_opaque[..., None], (Note("transparent pixels of masks", 1, "taken for background"),)


def is_jpeg(data: bytes) -> bool:
    """Return True for a JPEG, whose values are only near those that were saved."""
    return data[:2] == b"\xff\xd8"


def number_colours(values: Values) -> Values:
    """Give each colour a number, black 0."""
    if values.ndim == 2:
        return values
    codes = (values.astype(np.int64) * np.array([1 << 32, 1 << 16, 1])).sum(axis=2)
    return np.unique(np.append(codes, 0), return_inverse=True)[1][:-1].reshape(codes.shape)


def find_void(values: Values, notes: tuple[Note, ...], ignore: int | None, where: str) -> Mask | None:
    """Find the pixels that do not count: those of a value, or of a palette's 255 as in PASCAL VOC.

    A gray 255 that borders on half of the other objects, or more, may be meant so as well; that is an error.
    """
    if values.ndim == 3:
        void = (values == ignore).all(axis=2) if ignore is not None else np.zeros(values.shape[:2], np.bool_)
        return void if void.any() else None
    if ignore is None and values.max(initial=0) == _VOID and not (values == _VOID - 1).any():
        if "palette" in {note.kind for note in notes}:
            ignore = _VOID
        elif (n := _count_neighbours(values, _VOID)) >= max(2, (len(np.unique(values)) - 2) / 2):
            message = f"{where}: 255 borders on {n} objects, as do pixels that should not count"
            raise DataError(f"{message}; set competition.ignore to 255, or to {NO_VALUE} if it is an object")
    void = values == (NO_VALUE if ignore is None else ignore)
    return void if void.any() else None


def _count_neighbours(values: Values, number: int) -> int:
    """Count the other objects that share a side with one."""
    pairs = [(values[1:], values[:-1]), (values[:, 1:], values[:, :-1])]
    beside = [other[here == number] for one, two in pairs for here, other in ((one, two), (two, one))]
    return len(set(np.unique(np.concatenate(beside)).tolist()) - {0, number})


def renumber(values: Values) -> Labels:
    """Give objects the ids 1…n in the order of those they have, which may have 64 bits."""
    if values.max(initial=0) <= np.iinfo(np.int32).max:
        return relabel(values)
    return np.unique(np.append(values, 0), return_inverse=True)[1][:-1].reshape(values.shape).astype(np.int32)
