"""Image files, zips and folders made from what a test draws by hand."""

import io
import zipfile

import numpy as np
import tifffile
from PIL import Image


def png(pixels, mode=None, **options):
    """Encode an array (or a Pillow image) as PNG."""
    return encode(pixels, "PNG", mode, **options)


def encode(pixels, kind, mode=None, **options):
    """Encode an array (or a Pillow image) with Pillow; `mode` converts it before."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels, **options):
    """Encode an array with tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.asarray(pixels), **options)
    return buffer.getvalue()


def zipped(files):
    """Pack a dict of names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_zip(path, files):
    """Write a zip and return its path as text, as a person types it."""
    path.write_bytes(zipped(files))
    return str(path)


def write_folder(path, files):
    """Write files into a folder and return its path as text."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return str(path)
