"""Bytes to arrays and back: images of 8 bits, binary masks and label images, in every pixel format the files have."""

import io
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from kaggle_unet.errors import DataError
from kaggle_unet.io.data_issues import Note
from kaggle_unet.io.pixels import Pixels, Window, read_pixels, read_shape, read_window
from kaggle_unet.types import Image, Mask

# For patterns of file names: a dot and a suffix that may be written in capitals.
SUFFIX_PATTERN = r"\.(?i:png|tif|tiff|jpg|jpeg|bmp)"


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
    image, depth_notes = _to_8_bits(pixels, where)
    colours, channel_notes = _to_gray_or_rgb(image)
    return np.ascontiguousarray(colours), (*depth_notes, *channel_notes)


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
    """Decode a binary mask of one object, most of which is empty."""
    window = read_window(data, where)
    if window is not None:
        return window._replace(pixels=window.pixels > 0)
    mask = decode_mask(data, where)
    return Window(mask, 0, 0, (mask.shape[0], mask.shape[1]))


def decode_label_image(data: bytes, where: str) -> NDArray[np.int32]:
    """Decode a label image: each pixel holds the number of its instance."""
    values = _drop_alpha(read_pixels(data, where, "labels")[0])
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise DataError(f"{where} is coloured; wanted one number per pixel: export the labels as 16-bit gray")
        values = values[..., 0]
    limit = np.iinfo(np.int32).max
    if values.dtype != np.bool_ and not ((values >= 0) & (values <= limit) & (values == np.floor(values))).all():
        message = f"{where} holds values from {values.min()} to {values.max()}"
        raise DataError(f"{message}; wanted whole numbers from 0 to {limit}: export the labels again")
    return values.astype(np.int32)


def decode_shape(data: bytes, where: str) -> tuple[int, int]:
    """Read an image's height and width from its header."""
    return read_shape(data, where)


def classify_kind(image: Image) -> str:
    """Tell three types of microscope image apart.

    >>> classify_kind(np.zeros((2, 2), np.uint8))
    'gray-dark'
    """
    if image.ndim == 3:
        return "colour"
    return "gray-bright" if image.mean() > 127 else "gray-dark"


def _to_8_bits(pixels: Pixels, where: str) -> tuple[Image, tuple[Note, ...]]:
    if pixels.dtype == np.uint8:
        return pixels, ()
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255), (Note("1-bit image", 1, "0 and 255"),)
    if pixels.dtype.kind not in "iu" or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535:
        message = f"{where} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}"
        raise DataError(f"{message}; wanted 8 or 16 bits: scale the image and save it again")
    image = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    levels = int(image.max(initial=0)) + 1
    if levels <= 16:  # 12 bits of a camera in a 16-bit file
        return image, (Note("dark 16-bit image", 1, "divided by 257, at most 16 gray levels left: stretch it before"),)
    return image, (Note("16-bit image", 1, "divided by 257"),)


def _to_gray_or_rgb(image: Image) -> tuple[Image, tuple[Note, ...]]:
    if image.ndim == 2:
        return image, ()
    notes = []
    if image.shape[2] in {2, 4}:
        is_opaque = bool((image[..., -1] == 255).all())
        notes.append(Note("opaque alpha channel" if is_opaque else "transparent pixels", 1, "alpha dropped"))
        image = _drop_alpha(image)
    if all((image[..., 0] == image[..., channel]).all() for channel in range(1, image.shape[2])):
        if image.shape[2] == 3:
            notes.append(Note("equal colour channels", 1, "stored gray"))
        image = image[..., 0]
    return image, tuple(notes)


def _drop_alpha(pixels: Pixels) -> Pixels:
    return pixels[..., :-1] if pixels.ndim == 3 and pixels.shape[2] in {2, 4} else pixels
