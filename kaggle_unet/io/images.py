"""Image files to arrays and back: 8-bit images, binary masks and label images, in every pixel format that files have.

Pillow reads; what it would reduce to 8 bits (16-bit colour) or does not support (64-bit and floating-point TIFFs) goes
to OpenCV or tifffile. Other TIFFs do not go to tifffile, which needs another package for LZW and JPEG compression.
Orientation tags are not followed, so that an image and its mask are never rotated differently: where Pillow rotates a
TIFF, it is rotated back. The header is read before any pixel is decoded, so a file that declares an enormous size is
refused at no cost: beyond twice Pillow's limit, some 13,000 × 13,000 pixels.
"""

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from kaggle_unet.errors import DataError
from kaggle_unet.io.data_issues import Note
from kaggle_unet.types import Image, Mask

Pixels = NDArray[Any]
Purpose = Literal["image", "mask", "labels"]

# For patterns of file names: a dot and a suffix that may be written in capitals.
SUFFIX_PATTERN = r"\.(?i:png|tif|tiff|jpg|jpeg|bmp)"

_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")  # never those for which Pillow starts other programs
_MODES = ("1", "L", "LA", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGB", "RGBA")
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
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, ArithmeticError, NotImplementedError,
    struct.error, zlib.error, zipfile.BadZipFile, cv2.error, tifffile.TiffFileError,
)  # fmt: skip


class Window(NamedTuple):
    """A part of a mask; all pixels outside are 0."""

    pixels: Pixels
    y: int
    x: int
    shape: tuple[int, int]


def decode_image(data: bytes, where: str) -> tuple[Image, tuple[Note, ...]]:
    """Decode an image to 8 bits, gray where all channels are equal."""
    pixels, notes = read_pixels(data, where, "image")
    image, more_notes = to_image(pixels, where)
    return image, (*notes, *more_notes)


def to_image(pixels: Pixels, where: str) -> tuple[Image, tuple[Note, ...]]:
    """Convert pixels to 8 bits, gray where all channels are equal.

    16-bit values are divided by 257 and rounded, so that 0 and 65535 become 0 and 255; a note says where few levels
    are left. Alpha is dropped, the colours under it stay as stored. The two values of 1-bit images become 0 and 255.
    """
    image, found = (pixels, ()) if pixels.dtype == np.uint8 else _to_8_bits(pixels, where)
    notes = list(found)
    if image.ndim == 3 and image.shape[2] in {2, 4}:
        is_opaque = bool((image[..., -1] == 255).all())
        notes.append(Note("opaque alpha channel" if is_opaque else "transparent pixels", 1, "alpha dropped"))
        image = image[..., :-1]
    if image.ndim == 3 and all((image[..., 0] == image[..., i]).all() for i in range(1, image.shape[2])):
        if image.shape[2] == 3:
            notes.append(Note("equal colour channels", 1, "stored gray"))
        image = image[..., 0]
    return np.ascontiguousarray(image), tuple(notes)


def encode_png(pixels: NDArray[Any]) -> bytes:
    """Encode 8 or 16 bits, gray or RGB, as PNG."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encode_tiff(pixels: NDArray[Any]) -> bytes:
    """Encode as TIFF, deflated."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", compression="zlib")
    return buffer.getvalue()


def decode_mask(data: bytes, where: str) -> Mask:
    """Decode a binary mask: whatever is above 0 is inside."""
    colours = _drop_alpha(read_pixels(data, where, "mask")[0])
    is_inside: Mask = colours > 0
    return is_inside if is_inside.ndim == 2 else np.asarray(is_inside.any(axis=2))


def decode_mask_window(data: bytes, where: str) -> Window:
    """Decode a binary mask of one object; of a gray PNG only the rectangle with values above 0 becomes an array."""
    with _opened(io.BytesIO(data), where) as pillow:
        if pillow is not None and pillow.format == "PNG" and pillow.mode in {"1", "L"}:
            pillow.load()
            box = pillow.getbbox() or (0, 0, 0, 0)
            return Window(np.asarray(pillow.crop(box)) > 0, box[1], box[0], (pillow.height, pillow.width))
    mask = decode_mask(data, where)
    return Window(mask, 0, 0, (mask.shape[0], mask.shape[1]))


def decode_label_image(data: bytes, where: str) -> NDArray[np.int32]:
    """Decode a label image: each pixel holds the number of its instance."""
    values = _drop_alpha(read_pixels(data, where, "labels")[0])
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise DataError(f"{where} has colours; expected one number per pixel: export the labels as 16-bit gray")
        values = values[..., 0]
    limit = np.iinfo(np.int32).max
    if values.dtype != np.bool_ and not ((values >= 0) & (values <= limit) & (values == np.floor(values))).all():
        message = f"{where} holds values from {values.min()} to {values.max()}"
        raise DataError(f"{message}; expected whole numbers from 0 to {limit}: export the labels again")
    return values.astype(np.int32)


def read_shape(file: IO[bytes], where: str) -> tuple[int, int]:
    """Read an image's height and width from its header, without reading its pixels."""
    with _opened(file, where) as pillow:
        if pillow is None:
            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages.first
                return int(page.imagelength), int(page.imagewidth)
        width, height = pillow.size
        is_turned = getattr(pillow, "tag_v2", {}).get(_ORIENTATION, 1) >= 5
        return (width, height) if is_turned else (height, width)


def classify_kind(image: Image) -> str:
    """Classify a microscope image as colour, gray-bright or gray-dark."""
    if image.ndim == 3:
        return "colour"
    return "gray-bright" if image.mean() > 127 else "gray-dark"


def read_pixels(data: bytes, where: str, purpose: Purpose) -> tuple[Pixels, tuple[Note, ...]]:
    """Decode a PNG, TIFF, JPEG or BMP to its pixels as they are stored."""
    notes = []
    with _opened(io.BytesIO(data), where) as pillow:
        tags = getattr(pillow, "tag_v2", {})  # of a TIFF, before Pillow acts on them
        orientation, min_is_white = tags.get(_ORIENTATION, 1), tags.get(_TIFF_PHOTOMETRIC) == 0
        if pillow is not None:
            if tags:
                _refuse_several(getattr(pillow, "n_frames", 1), where)
            if pillow.mode not in _MODES:
                raise DataError(f"{where} has {pillow.mode} colours; expected gray, RGB or a palette: convert it")
            pillow.load()
            if max(orientation, pillow.getexif().get(_ORIENTATION, 1)) > 1:
                notes.append(Note("orientation tag", 1, "ignored, pixels as stored"))
            turn_back = _UNDO_ORIENTATION.get(orientation)  # Pillow turns TIFFs, and no other format
            turned = pillow if turn_back is None else pillow.transpose(turn_back)
        is_colour = pillow is not None and pillow.mode in {"LA", "RGB", "RGBA"}  # of 16 bits, Pillow would keep 8
        if pillow is None or (is_colour and max(tags.get(_TIFF_BITS, (8,))) > 8):
            pixels = _read_tiff(data, where)
        elif is_colour and pillow.format == "PNG" and data[24] == 16:  # bit depth, 9th byte of the header chunk
            pixels = _read_deep_png(data)
        elif pillow.mode == "P":
            pixels = _look_up_palette(turned, purpose)
            notes.append(Note("palette", 1, "looked up"))
        else:
            is_inverted = min_is_white and pillow.mode in {"1", "L"}  # Pillow inverts these by itself
            pixels = np.asarray(turned)
            pixels = pixels if is_inverted == (min_is_white and purpose == "image") else ~pixels
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and 2 <= pixels.shape[2] <= 4)
    if not (is_picture and pixels.size and pixels.dtype.kind in "biuf"):
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise DataError(f"{where} holds {found}; expected one image, gray or RGB: convert it")
    return pixels, tuple(notes)


@contextmanager
def _opened(file: IO[bytes], where: str) -> Iterator[Pillow.Image | None]:
    """Read the header, or yield None for a TIFF that Pillow does not know; errors name the file and a remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pillow = None
            try:
                pillow = Pillow.open(file, formats=_FORMATS)
            except UnidentifiedImageError:
                file.seek(0)
                if file.read(4) not in _TIFF_STARTS:
                    raise
            yield pillow
    except Pillow.DecompressionBombError as error:
        raise DataError(f"{where} is too large ({error}); cut it into tiles") from error
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(12)
        what = f"is no image (it begins with {start!r})" if start else "is empty (0 bytes)"
        raise DataError(f"{where} {what}; get it again") from error
    except _DAMAGE as error:
        raise DataError(f"{where} is damaged or truncated ({error}); get it again") from error


def _look_up_palette(pillow: Pillow.Image, purpose: Purpose) -> Pixels:
    """Return colours, or for labels the indices, unless the palette is gray (a binary mask, say)."""
    has_alpha = purpose == "image" and "transparency" in pillow.info
    colours = np.asarray(pillow.convert("RGBA" if has_alpha else "RGB"))
    if purpose == "labels" and (colours != colours[..., :1]).any():
        return np.asarray(pillow)
    return colours


def _read_deep_png(data: bytes) -> Pixels:
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]  # OpenCV's channels run blue, green, red
    return np.ascontiguousarray(pixels[..., order])


def _read_tiff(data: bytes, where: str) -> Pixels:
    """Read 16-bit colour and what Pillow does not know: 64-bit integers, 16- and 64-bit floating point."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        _refuse_several(len(tiff.pages), where)
        page = tiff.pages.first
        most = 2 * (Pillow.MAX_IMAGE_PIXELS or 0)
        if page.imagelength * page.imagewidth > most or page.size > 4 * most:  # pixels, and samples of all pixels
            raise Pillow.DecompressionBombError(f"{' x '.join(map(str, page.shape))} values")
        pixels: Pixels = page.asarray()
        is_apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and 2 <= page.samplesperpixel <= 4
        return np.moveaxis(pixels, 0, -1) if is_apart else pixels


def _refuse_several(n: int, where: str) -> None:
    if n > 1:
        raise DataError(f"{where} holds {n} images; expected one: save each in a file of its own")


def _to_8_bits(pixels: Pixels, where: str) -> tuple[Image, tuple[Note, ...]]:
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255), (Note("1-bit image", 1, "0 and 255"),)
    if pixels.dtype.kind not in "iu" or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535:
        message = f"{where} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}"
        raise DataError(f"{message}; expected 8 or 16 bits: scale the image and save it again")
    image = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.max(initial=0) < 1 << 12:  # 12 bits of a camera in a 16-bit file
        return image, (Note("dark 16-bit image", 1, "divided by 257, at most 17 gray levels left: stretch it before"),)
    return image, (Note("16-bit image", 1, "divided by 257"),)


def _drop_alpha(pixels: Pixels) -> Pixels:
    return pixels[..., :-1] if pixels.ndim == 3 and pixels.shape[2] in {2, 4} else pixels
