"""The pixels of an image file as numbers, whatever its format; their meaning is for images.py.

Pillow reads; what it would cut down to 8 bits (16-bit colour) or does not know (64-bit and floating-point TIFFs) goes
to OpenCV or tifffile. Orientation tags are not followed, so that an image and its mask never turn differently: where
Pillow turns a TIFF, it is turned back. The header is looked at before any pixel is decoded, so a file that declares a
monstrous size costs nothing: beyond twice Pillow's limit, some 13,000 × 13,000 pixels.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from kaggle_unet.errors import DataError
from kaggle_unet.io.data_issues import Note

Pixels = NDArray[Any]
Purpose = Literal["image", "mask", "labels"]

_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")  # never those for which Pillow starts other programs
_GRAY_MODES = ("1", "L", "LA", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_MODES = (*_GRAY_MODES, "RGB", "RGBA")
_ORIENTATION = 274  # number of the tag, in EXIF and TIFF alike
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNDO_ORIENTATION = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_90,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_270,
}
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, NotImplementedError,
    struct.error, zlib.error, cv2.error, tifffile.TiffFileError,
)  # fmt: skip


class Window(NamedTuple):
    """A part of an image; all pixels outside are 0."""

    pixels: Pixels
    y: int
    x: int
    shape: tuple[int, int]


class _Picture(NamedTuple):
    """An opened file; how a TIFF's header says it is turned and inverted, before Pillow acts on that."""

    pillow: Pillow.Image
    tiff_orientation: int
    min_is_white: bool


def read_pixels(data: bytes, where: str, purpose: Purpose) -> tuple[Pixels, tuple[Note, ...]]:
    """Decode a PNG, TIFF, JPEG or BMP."""
    pixels, notes = _decode(data, where, purpose)
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and 2 <= pixels.shape[2] <= 4)
    if not (is_picture and pixels.size and pixels.dtype.kind in "biuf"):
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise DataError(f"{where} holds {found}; wanted one image, gray or RGB: convert it")
    return pixels, notes


def _decode(data: bytes, where: str, purpose: Purpose) -> tuple[Pixels, tuple[Note, ...]]:
    with _faults_named(data, where):
        picture = _open(data)
        if picture is None:
            return _read_tiff(data, where), ()
        _refuse_strange(picture.pillow, where)
        picture.pillow.load()
        pillow = _turn_back(picture)
        notes = []
        if max(picture.tiff_orientation, pillow.getexif().get(_ORIENTATION, 1)) > 1:
            notes.append(Note("orientation tag", 1, "ignored, pixels as stored"))
        if pillow.mode == "P":
            notes.append(Note("palette", 1, "looked up"))
            return _look_up_palette(pillow, purpose), tuple(notes)
        if read_deep := _deep_reader(data, picture.pillow):
            return read_deep(data), tuple(notes)
        is_inverted = picture.min_is_white and pillow.mode in {"1", "L"}  # Pillow inverts these by itself
        is_wanted = picture.min_is_white and purpose == "image"
        pixels = np.asarray(pillow)
        return pixels if is_inverted == is_wanted else ~pixels, tuple(notes)


def read_window(data: bytes, where: str) -> Window | None:
    """Decode the rectangle of a gray PNG outside of which all is 0; the rest is never made an array."""
    with _faults_named(data, where):
        picture = _open(data)
        if picture is None or picture.pillow.format != "PNG" or picture.pillow.mode not in {"1", "L"}:
            return None
        pillow = picture.pillow
        pillow.load()
        box = pillow.getbbox() or (0, 0, 0, 0)
        return Window(np.asarray(pillow.crop(box)), box[1], box[0], (pillow.height, pillow.width))


def read_shape(data: bytes, where: str) -> tuple[int, int]:
    """Read height and width from the header, without decoding."""
    with _faults_named(data, where):
        picture = _open(data)
        if picture is None:
            with tifffile.TiffFile(io.BytesIO(data)) as tiff:
                page = tiff.pages.first
                return int(page.imagelength), int(page.imagewidth)
        width, height = picture.pillow.size
        return (width, height) if picture.tiff_orientation >= 5 else (height, width)


@contextmanager
def _faults_named(data: bytes, where: str) -> Iterator[None]:
    """Give every fault of a decoder the file's name and a remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Pillow.DecompressionBombError as error:
        raise DataError(f"{where} is too large ({error}); cut it into tiles") from error
    except UnidentifiedImageError as error:
        what = f"is no image (it begins with {data[:12]!r})" if data else "is empty (0 bytes)"
        raise DataError(f"{where} {what}; get it again") from error
    except _DAMAGE as error:
        raise DataError(f"{where} is damaged or cut off ({error}); get it again") from error


def _open(data: bytes) -> _Picture | None:
    """Read the header; None for a TIFF that Pillow does not know."""
    try:
        pillow = Pillow.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data.startswith(_TIFF_STARTS):
            return None
        raise
    tags = pillow.tag_v2 if isinstance(pillow, TiffImageFile) else {}
    return _Picture(pillow, tags.get(_ORIENTATION, 1), tags.get(_TIFF_PHOTOMETRIC) == 0)


def _refuse_strange(pillow: Pillow.Image, where: str) -> None:
    if isinstance(pillow, TiffImageFile):
        _refuse_several(pillow.n_frames, where)
    if pillow.mode not in _MODES:
        raise DataError(f"{where} has {pillow.mode} colours; wanted gray, RGB or a palette: convert it")


def _turn_back(picture: _Picture) -> Pillow.Image:
    """Undo what Pillow does to a TIFF with an orientation tag, and to no other format."""
    if picture.tiff_orientation in _UNDO_ORIENTATION:
        return picture.pillow.transpose(_UNDO_ORIENTATION[picture.tiff_orientation])
    return picture.pillow


def _look_up_palette(pillow: Pillow.Image, purpose: Purpose) -> Pixels:
    """Colours, or for labels the indices, unless the palette is gray (a binary mask, say)."""
    has_alpha = purpose == "image" and "transparency" in pillow.info
    colours = np.asarray(pillow.convert("RGBA" if has_alpha else "RGB"))
    if purpose == "labels" and (colours != colours[..., :1]).any():
        return np.asarray(pillow)
    return colours


def _deep_reader(data: bytes, pillow: Pillow.Image) -> Callable[[bytes], Pixels] | None:
    """Choose the decoder for 16-bit colour, which Pillow would cut down to 8 bits."""
    if pillow.mode not in {"LA", "RGB", "RGBA"}:
        return None
    if pillow.format == "PNG" and data[24] == 16:  # bit depth, the 9th byte of the header chunk
        return _read_deep_png
    if isinstance(pillow, TiffImageFile) and max(pillow.tag_v2.get(_TIFF_BITS, (8,))) > 8:
        return _read_deep_tiff
    return None


def _read_deep_png(data: bytes) -> Pixels:
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]  # OpenCV's channels run blue, green, red
    return np.ascontiguousarray(pixels[..., order])


def _read_deep_tiff(data: bytes) -> Pixels:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _refuse_huge(page)
        pixels: Pixels = page.asarray()
        return np.moveaxis(pixels, 0, -1) if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else pixels


def _read_tiff(data: bytes, where: str) -> Pixels:
    """Read what Pillow does not know: 64-bit integers, 16- and 64-bit floating point."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        _refuse_several(len(tiff.pages), where)
        page = tiff.pages.first
        _refuse_huge(page)
        return np.asarray(page.asarray())


def _refuse_huge(page: tifffile.TiffPage) -> None:
    """Refuse a picture that would not fit into memory, by what its header says, pixels and samples of a pixel."""
    most = 2 * (Pillow.MAX_IMAGE_PIXELS or 0)
    if page.imagelength * page.imagewidth > most or page.size > 4 * most:
        raise Pillow.DecompressionBombError(f"{' x '.join(map(str, page.shape))} values")


def _refuse_several(n: int, where: str) -> None:
    if n > 1:
        raise DataError(f"{where} holds {n} images; wanted one: save each in a file of its own")
