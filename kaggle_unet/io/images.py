"""Image files to arrays and back: images, binary masks and label images, in every pixel format that files have.

Pillow reads all files except those it would reduce to 8 bits or does not support, which go to OpenCV or tifffile. All
gray levels are kept. Orientation tags are followed, in images and masks, so both are as every viewer shows them. The
header is read before any pixel is decoded, so a file that declares an enormous size is refused at no cost.
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageMode, UnidentifiedImageError

from kaggle_unet.errors import ConfigError, DataError, KitError
from kaggle_unet.io.archive import find_excess
from kaggle_unet.io.data_issues import Note
from kaggle_unet.io.tiff import ORIENTATION, STARTS, TURNS, find_channel, find_plane, read_plane, refuse_several
from kaggle_unet.types import Image, Mask, Shape

Pixels = NDArray[Any]
Purpose = Literal["image", "mask", "labels"]

# For patterns of file names: a dot and a suffix that may be written in capitals.
SUFFIX_PATTERN = r"\.(?i:png|tif|tiff|jpg|jpeg|bmp|gif|webp)"

_MOST_PARTS = 3  # of objects (a body, its core, its outline) that a binary mask may mark with values of their own
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "WEBP")  # never those for which Pillow starts other programs
_MODES = ("1", "L", "LA", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGB", "RGBA")
_PILLOW_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)  # none, fax, LZW, JPEG, deflate, PackBits


def decode_image(data: bytes, where: str, channel: int | str | None = None) -> tuple[Image, tuple[Note, ...]]:
    """Decode an image, or one channel of it by its number (from 0) or name; gray where all colours are equal."""
    pixels, notes = read_pixels(data, where, "image", keep_alpha=isinstance(channel, int))
    if channel is not None:
        pixels = np.atleast_3d(pixels)
        pixels = pixels[..., find_channel(io.BytesIO(data), channel, pixels.shape[2], where)]
    image, more_notes = to_image(pixels, where)
    return image, (*notes, *more_notes)


def to_image(pixels: Pixels, where: str) -> tuple[Image, tuple[Note, ...]]:
    """Convert pixels to uint8, uint16 or float32, all values kept; gray where all colours are equal.

    The two values of 1-bit images become 0 and 255.
    """
    notes: list[Note] = []
    if pixels.dtype == np.bool_:
        pixels, notes = pixels.astype(np.uint8) * np.uint8(255), [Note("1-bit image", 1, "0 and 255")]
    elif pixels.dtype != np.uint8:
        pixels, notes = _keep_all_levels(pixels, where)
    if pixels.shape[2:] == (3,) and all((pixels[..., 0] == pixels[..., k]).all() for k in (1, 2)):
        notes.append(Note("equal colour channels", 1, "stored gray"))
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels), tuple(notes)


def _keep_all_levels(pixels: Pixels, where: str) -> tuple[Image, list[Note]]:
    if n := int(np.count_nonzero(~np.isfinite(pixels))):
        raise DataError(f"{where} has {n} pixels that are NaN or infinite; replace them, by 0 for example")
    if pixels.dtype.kind != "f" and 0 <= pixels.min(initial=0) <= pixels.max(initial=0) < 1 << 16:
        return pixels.astype(np.uint16), [Note("16-bit image", 1, "all gray levels kept")]
    with np.errstate(over="ignore"):
        image = pixels.astype(np.float32)
        allowed = (np.ptp(pixels) or np.inf) / 1000 if pixels.dtype.kind == "f" else 0  # of a narrow band, too
    if np.abs(image - pixels).max(initial=0) > allowed or not np.isfinite(image).all():
        message = f"{where} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}"
        raise DataError(f"{message}, more than 32-bit floats can tell apart: scale the image and save it again")
    return image, [Note(f"{pixels.dtype} image", 1, "stored as float32")]


def encode_png(pixels: NDArray[Any]) -> bytes:
    """Encode 1, 8 or 16 bits, gray, RGB or RGBA, as PNG."""
    if pixels.dtype.kind not in "bu" or pixels.shape[2:] not in {(), (3,), (4,)} or not pixels.size:
        raise ConfigError(f"a PNG holds no {pixels.dtype} of shape {pixels.shape}; write TIFFs")
    if pixels.dtype == np.uint16 and pixels.ndim == 3:  # more than Pillow writes; OpenCV wants blue first
        order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, order))[1])
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encode_tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """Encode as TIFF, deflated, with further `options` of tifffile."""
    buffer = io.BytesIO()
    options |= {"planarconfig": "contig"} if pixels.ndim == 3 else {}
    photometric = "rgb" if pixels.shape[2:] == (3,) else "minisblack"
    tifffile.imwrite(buffer, pixels, photometric=photometric, compression="zlib", **options)
    return buffer.getvalue()


def decode_mask(data: bytes, where: str) -> tuple[Mask, tuple[Note, ...]]:
    """Decode a binary mask: inside is what is above 0, or opaque, or with soft edges nearer to white than to black."""
    pixels, notes = apply_alpha(read_pixels(data, where, "mask")[0])
    grays = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    if not is_jpeg(data) and pixels.dtype != np.bool_ and grays.all() and (pixels != pixels[:1, :1]).any():
        raise DataError(f"{where} has no pixel of 0 or black, which is background; export it again")
    mask, more_notes = find_inside(grays, where, is_lossy=is_jpeg(data))
    return mask, (*notes, *more_notes)


def apply_alpha(pixels: Pixels) -> tuple[Pixels, tuple[Note, ...]]:
    """Return the alpha channel if the rest has one colour or is a photograph; otherwise make transparent pixels 0."""
    if pixels.shape[2:] not in {(2,), (4,)}:
        return pixels, ()
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if (alpha == alpha.flat[0]).all():
        return colours, (Note("opaque alpha channel", 1, "alpha dropped"),)
    is_opaque = alpha > alpha.max() / 2
    opaque = colours[is_opaque].astype(np.int64)
    if len(np.unique(opaque, axis=0)) in {1, *range(max(16, len(opaque) // 4), len(opaque) + 1)}:
        return is_opaque.astype(np.uint8), (Note("masks in the alpha channel", 1, "read from there"),)
    return colours * is_opaque[..., None], (Note("transparent pixels of masks", 1, "taken for background"),)


def is_jpeg(data: bytes) -> bool:
    """Return True for a JPEG, whose values are only near those that were saved."""
    return data[:2] == b"\xff\xd8"


def find_inside(grays: Pixels, where: str, *, is_lossy: bool = False) -> tuple[Mask, tuple[Note, ...]]:
    """Find what is above 0 or, if there are many values, nearer to the high ones; too many in between are an error."""
    values = grays[inside := grays > 0]
    high = float(values.max(initial=0))
    if not is_lossy and ((values == high).all() or len(np.unique(values)) <= _MOST_PARTS):
        return inside, ()
    high = float(np.median(values[2.0 * values > high])) if high else 0.0
    n_between = np.count_nonzero((values > high / 8) & (values < high * 7 / 8))
    most = np.count_nonzero(values > high / 8) * (1 / 4 if is_lossy else 2 / 3)  # small objects are half edge
    if (is_lossy and 0 < high < 32) or n_between > most:
        what = f"has many values between 0 and {high:g}, so its objects have no clear edge; save two values"
        if is_lossy:
            what = "is a JPEG of more than two values, which it does not keep; save masks as PNG or TIFF"
        raise DataError(f"{where} {what}")
    kind = "binary masks saved as JPEG" if is_lossy else "binary masks with soft edges"
    return 2.0 * grays > high, (Note(kind, 1, "inside where nearer to white"),)


def read_shape(file: IO[bytes], where: str) -> Shape:
    """Read an image's height and width from its header, without reading its pixels."""
    with _opened(file, where) as pillow:
        if pillow is None or pillow.format == "TIFF":
            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                page = find_plane(tiff, where)[0].keyframe
                height, width = int(page.imagelength), int(page.imagewidth)
                orientation = page.tags.valueof(ORIENTATION, 1)
        else:
            (width, height), orientation = pillow.size, _find_orientation(pillow)
        return (width, height) if orientation in {5, 6, 7, 8} else (height, width)


def classify_kind(image: Image) -> str:
    """Classify a microscope image: colour, gray-bright, gray-dark, or its number of channels."""
    if image.ndim == 3:
        return "colour" if image.shape[2] == 3 else f"{image.shape[2]} channels"
    middle = 127 if image.dtype == np.uint8 else np.percentile(image, (1, 99.8)).mean()
    return "gray-bright" if image.mean() > middle else "gray-dark"


def read_pixels(
    data: bytes, where: str, purpose: Purpose, *, keep_alpha: bool = False
) -> tuple[Pixels, tuple[Note, ...]]:
    """Decode a file to its pixels, turned as they are displayed; images lose alpha, masks keep what they hold."""
    notes = []
    with _opened(io.BytesIO(data), where) as pillow:
        orientation = _find_orientation(pillow)
        if data[:4] in STARTS:
            pixels, has_alpha, orientation = _read_tiff(data, where, pillow, purpose)
        else:
            assert pillow is not None
            pixels = TURNS[orientation](_load(pillow, data, where, purpose))
            has_alpha = pixels.shape[2:] in {(2,), (4,)}
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and (purpose == "image" or 2 <= pixels.shape[2] <= 4))
    if not (is_picture and pixels.size and pixels.dtype.kind in "biuf"):
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise DataError(f"{where} holds {found}; expected one image, gray or RGB: convert it")
    if orientation > 1:
        notes.append(Note("orientation tag", 1, "turned as it says"))
    if pillow is not None and pillow.mode == "P":
        notes.append(Note("palette", 1, "looked up"))
    if purpose == "image" and has_alpha and not keep_alpha:
        pixels, alpha = drop_alpha(pixels)
        notes += alpha
    return np.ascontiguousarray(pixels), tuple(notes)


def drop_alpha(pixels: Pixels) -> tuple[Pixels, tuple[Note, ...]]:
    """Drop the last of two or four channels; the colours under it stay as stored."""
    if pixels.shape[2:] not in {(2,), (4,)}:
        return pixels, ()
    opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    kind = "opaque alpha channel" if (pixels[..., -1] == opaque).all() else "transparent pixels"
    colours = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :-1]
    return colours, (Note(kind, 1, "alpha dropped"),)


def _load(pillow: Pillow.Image, data: bytes, where: str, purpose: Purpose) -> Pixels:
    """Decode any format but TIFF."""
    packed = check_png(data) if pillow.format == "PNG" else b""
    if pillow.mode not in _MODES:
        raise DataError(f"{where} has {pillow.mode} colours; expected gray, RGB or a palette: convert it")
    if (n := getattr(pillow, "n_frames", 1)) > 1 and pillow.format != "MPO":  # a camera's second image is a preview
        refuse_several(n, where)
    if pillow.format == "PNG" and data[24] == 16 and pillow.mode in {"LA", "RGB", "RGBA"}:  # Pillow would keep 8 bits
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError("OpenCV cannot decode it")
        order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[decoded.shape[2]]  # OpenCV's channels run blue, green, red
        pixels: Pixels = np.ascontiguousarray(decoded[..., order])
    else:
        pillow.load()
        pixels = _look_up_palette(pillow, purpose) if pillow.mode == "P" else np.asarray(pillow)
    if packed and not pixels[-1].any():
        _refuse_missing_rows(data, packed)
    return pixels


def check_png(data: bytes) -> bytes:
    """Return a PNG's deflated pixels; raise `ValueError` if its chunks are damaged, which Pillow overlooks."""
    start, packed = 8, []
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if zlib.crc32(memoryview(data)[start + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"wrong checksum at byte {end}")
        if data[start + 4 : start + 8] == b"IDAT":
            packed.append(data[start + 8 : end])
        if data[start + 4 : start + 8] == b"IEND":
            return b"".join(packed)
        start = end + 4
    raise ValueError("its end is missing")


def _refuse_missing_rows(data: bytes, packed: bytes) -> None:
    """Raise `ValueError` for a PNG with fewer rows than it declares; decoders leave the others, and so the last, 0."""
    width, height, bits, colours, *_, is_interlaced = struct.unpack(">IIBBBBB", data[16:29])
    n_bytes = height * (1 + (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] + 7) // 8)  # a filter each
    if not is_interlaced and (found := len(zlib.decompressobj().decompress(packed, n_bytes))) < n_bytes:
        raise ValueError(f"{found} bytes of pixels instead of {n_bytes}")


def _find_orientation(pillow: Pillow.Image | None) -> int:
    """Return the orientation tag of an opened file; Pillow's own `getexif` of a PNG would decode it."""
    tag = Pillow.Image.getexif(pillow).get(ORIENTATION, 1) if pillow is not None else 1
    return tag if tag in TURNS else 1


@contextmanager
def _opened(file: IO[bytes], where: str) -> Iterator[Pillow.Image | None]:
    """Read the header, or yield None for a TIFF that Pillow does not know; errors name the file and a remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the error says what is wrong
            pillow = None
            Pillow.MAX_IMAGE_PIXELS = None  # see `_refuse_large`
            try:
                pillow = Pillow.open(file, formats=_FORMATS)
                mode, wide = ImageMode.getmode("RGB" if pillow.mode == "P" else pillow.mode), "16" in str(pillow.tile)
                _refuse_large(pillow.size, len(mode.bands) * max(np.dtype(mode.typestr).itemsize, 1 + wide))
            except UnidentifiedImageError:
                file.seek(0)
                if file.read(4) not in STARTS:
                    raise
            yield pillow
    except Pillow.DecompressionBombError as error:
        raise DataError(f"{where} is too large ({error}), or cut it into tiles") from error
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(12)
        what = f"is no image (it begins with {start!r})" if start else "is empty (0 bytes)"
        raise DataError(f"{where} {what}; get it again") from error
    except (KitError, MemoryError):
        raise
    except Exception as error:  # which error it is, the bytes decide
        if "imagecodecs" in str(error):  # tifffile's words if its codecs are not installed
            remedy = "run .venv/bin/pip install -e '.[formats]'"
            raise DataError(f"{where} cannot be decoded ({error}); {remedy}") from error
        raise DataError(f"{where} is damaged or truncated ({error}); get it again") from error


def _refuse_large(size: tuple[int, int], bytes_per_px: float) -> None:
    found = {"IMAGE_PIXELS": math.prod(size), "IMAGE_BYTES": int(math.prod(size) * bytes_per_px)}
    if text := next(filter(None, map(find_excess, found, found.values())), ""):
        raise Pillow.DecompressionBombError(f"{size[0]} × {size[1]}: {text}")


def _look_up_palette(pillow: Pillow.Image, purpose: Purpose) -> Pixels:
    """Return colours, or for labels the indices, unless the palette has a gray for each (a binary mask, say)."""
    has_alpha = purpose == "image" and "transparency" in pillow.info
    colours = np.asarray(pillow.convert("RGBA" if has_alpha else "RGB"))
    if purpose != "labels":
        return colours
    indices = np.asarray(pillow)
    is_light = colours[..., 0] > 0
    n_grays = len(np.unique(colours[is_light]))
    is_gray = (colours == colours[..., :1]).all() and n_grays in {0, 1, len(np.unique(indices[is_light]))}
    return colours if is_gray else indices


def _read_tiff(data: bytes, where: str, pillow: Pillow.Image | None, purpose: Purpose) -> tuple[Pixels, bool, int]:
    """Return the pixels of a TIFF, turned, whether their last channel is alpha, and what its orientation was.

    Pillow decodes what it represents exactly, with all of its codecs; tifffile needs a package for most of them.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        series, axes = find_plane(tiff, where)
        page: Any = series.keyframe
        size = (int(page.imagewidth), int(page.imagelength))
        _refuse_large(size, series.size * series.dtype.itemsize / max(1, math.prod(size)))
        orientation = int(page.tags.valueof(ORIENTATION, 1))
        orientation = orientation if orientation in TURNS else 1
        min_is_white = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        has_alpha, bits = tuple(page.extrasamples) in {(1,), (2,)}, page.bitspersample  # associated or not
        if pillow is not None and series.size == page.size and page.index == 0 and _is_exact(pillow.mode, page):
            pillow.load()  # turns it, and inverts it if white is 0
            pixels = _look_up_palette(pillow, purpose) if pillow.mode == "P" else np.asarray(pillow)
            is_inverted, bits = min_is_white and pillow.mode in {"1", "L"}, 8 * pixels.itemsize
            has_alpha |= purpose != "image" and pixels.shape[2:] == (4,)  # in masks, nothing else is worth a guess
        else:
            pixels, is_inverted = TURNS[orientation](read_plane(series, axes, where)), False
    if is_inverted != (min_is_white and purpose == "image") and pixels.dtype.kind in "bu":
        pixels = ~pixels & np.array((1 << bits) - 1).astype(pixels.dtype)
    if purpose != "image" and not has_alpha and pixels.shape[2:] not in {(), (3,)}:
        raise DataError(f"{where} has {pixels.shape[2]} channels; expected a mask or labels: save one channel of it")
    return pixels, has_alpha, orientation


def _is_exact(mode_name: str, page: Any) -> bool:
    """Return True if Pillow knows a TIFF's compression, and its mode holds all channels and all bits."""
    mode = ImageMode.getmode(mode_name)
    is_whole = len(mode.bands) == page.samplesperpixel and np.dtype(mode.typestr).newbyteorder("=") == page.dtype
    return bool(is_whole and mode_name in _MODES and page.compression in _PILLOW_COMPRESSIONS)
