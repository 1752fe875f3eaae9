"""TIFFs as tifffile knows them: the one plane of a file, its channels and their names, its orientation and pixel size.

Resolutions per inch are not pixel sizes: programs write 72 or 300 there without knowing the microscope.
"""

import math
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from kaggle_unet.errors import DataError

Pixels = NDArray[Any]

UNITS_UM = {  # as OME and ImageJ write them
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "mm": 1e3, "cm": 1e4,
    "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3,
}  # fmt: skip
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 274  # number of the tag, in EXIF and TIFF alike
_COLOURS = ("MINISWHITE", "MINISBLACK", "RGB", "YCBCR")
TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # from stored to displayed pixels
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


def find_plane(tiff: tifffile.TiffFile, where: str) -> tuple[tifffile.TiffPageSeries, str]:
    """Return the one image of a TIFF, and its axes longer than 1: Y, X, and C or S if it has channels."""
    if not len(tiff.pages):  # counted first, or tifffile would follow circular pages for ever
        raise DataError(f"{where} holds no image; get it again")
    series = [one for one in tiff.series if not one.keyframe.is_reduced] or tiff.series
    refuse_several(len(series), where)
    n_listed = sum(len(one.pages) for one in tiff.series)
    if tiff.is_ome and len(tiff.pages) > n_listed:  # its XML leaves some out, perhaps thumbnails alone
        n_pages = sum(not page.aspage().is_reduced for page in tiff.pages)
        refuse_several(n_pages if n_pages > n_listed else 1, where)
    n_parts = math.prod(series[0].keyframe.chunked)
    if any(page is not None and len(page.dataoffsets) < n_parts for page in series[0].pages):  # decoders leave them 0
        raise DataError(f"{where} lacks some of the {n_parts} strips or tiles that its size needs; get it again")
    sizes = dict(zip(series[0].axes, series[0].shape, strict=True))
    axes = "".join(name for name, n in sizes.items() if n > 1 or name in "YX")
    if "Z" in axes:
        raise DataError(f"{where} is a 3-D stack of {sizes['Z']} planes ({axes}); expected one plane: save each apart")
    n_planes = math.prod(n for name, n in sizes.items() if name not in "YXS")
    if any(page is None for page in series[0].pages) or (tiff.imagej_metadata or {}).get("images", 1) > n_planes:
        raise DataError(f"{where} lacks planes that its header names; get it again, with all channels in one file")
    others = [n for name, n in sizes.items() if n > 1 and name not in "YXCS"]
    refuse_several(math.prod(others) * (sizes["C"] if "C" in axes and "S" in axes else 1), where)
    return series[0], axes


def refuse_several(n: int, where: str) -> None:
    """Raise `DataError` for a file of more than one image."""
    if n > 1:
        raise DataError(f"{where} holds {n} images; expected one: save each in a file of its own")


def refuse_colours(series: tifffile.TiffPageSeries, where: str) -> None:
    """Raise `DataError` for colours that are neither gray nor RGB."""
    colours = getattr(series.keyframe.photometric, "name", "unknown")
    if colours not in _COLOURS:
        colours = {"SEPARATED": "CMYK", "PALETTE": "palette"}.get(colours, colours)
        raise DataError(f"{where} has {colours} colours; expected gray or RGB: convert it")


def read_plane(series: tifffile.TiffPageSeries, axes: str, where: str) -> Pixels:
    """Decode a plane to (H, W) or (H, W, C)."""
    refuse_colours(series, where)
    pixels = series.asarray()
    pixels = pixels.reshape([n for name, n in zip(series.axes, series.shape, strict=True) if name in axes])
    return np.moveaxis(pixels, [axes.index(name) for name in "YX"], [0, 1])


def find_channel(file: IO[bytes], channel: int | str, n: int, where: str) -> int:
    """Return the number (from 0) of one of n channels, given by its number or by its name in a TIFF."""
    numbers = list(map(str, range(n)))
    named = _name_channels(file, n) if isinstance(channel, str) else numbers
    if str(channel) not in named:
        msg = f"{where} has the channels {', '.join(dict.fromkeys([*numbers, *named]))}, not competition.channel"
        raise DataError(f"{msg} {channel}; choose one of them")
    return named.index(str(channel))


def _name_channels(file: IO[bytes], n: int) -> list[str]:
    """Return the names of an image's channels, as OME-TIFF and ImageJ write them; three without any get the colours."""
    names: list[str] = []
    with suppress(tifffile.TiffFileError, ElementTree.ParseError), tifffile.TiffFile(file) as tiff:
        names = list((tiff.imagej_metadata or {}).get("Labels", ()))
        if tiff.ome_metadata:
            channels = ElementTree.fromstring(tiff.ome_metadata).iterfind(".//{*}Channel")
            names = [channel.get("Name", "") for channel in channels]
    return names or ["red", "green", "blue"][: n if n == 3 else 0]


def read_pixel_size(file: IO[bytes]) -> tuple[float, float] | None:
    """Read a pixel's height and width in micrometres; None if the file is no TIFF or does not say."""
    try:
        with tifffile.TiffFile(file) as tiff:
            tags = tiff.pages.first.tags
            if tiff.ome_metadata:
                return _of_ome(tiff.ome_metadata)
            name = (tiff.imagej_metadata or {}).get("unit", "")
            if not tiff.imagej_metadata and tags.valueof("ResolutionUnit") == tifffile.RESUNIT.CENTIMETER:
                name = "cm"
            unit = UNITS_UM[str(name).lower()]
            (x_pixels, x_units), (y_pixels, y_units) = tags["XResolution"].value, tags["YResolution"].value
            sides = unit * y_units / y_pixels, unit * x_units / x_pixels
            return sides if min(sides) > 0 else None
    except (tifffile.TiffFileError, LookupError, ValueError, TypeError, ArithmeticError, struct.error):
        return None


def _of_ome(xml: str) -> tuple[float, float] | None:
    sizes = []
    for axis in "YX":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', xml)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', xml)
        factor = UNITS_UM.get(unit[1].lower() if unit else "µm")
        if size is None or factor is None or not 0 < float(size[1]) < math.inf:
            return None
        sizes.append(float(size[1]) * factor)
    return sizes[0], sizes[1]
