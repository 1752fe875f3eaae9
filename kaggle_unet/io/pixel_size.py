"""Pixel sizes in the metadata of TIFFs: OME-TIFF, ImageJ, and resolutions in pixels per centimetre.

Resolutions per inch are left alone: programs write 72 or 300 there without knowing of any microscope.
"""

import re
from typing import IO

import tifffile

_UNITS_UM = {
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "mm": 1e3, "cm": 1e4,
}  # fmt: skip
_WIDTH, _HEIGHT, _UNIT = 282, 283, 296  # tags: pixels per unit along x and y, and the unit
_CENTIMETRE = 3


def read_pixel_size(file: IO[bytes]) -> tuple[float, float] | None:
    """Read a pixel's height and width in micrometres; None if the file is no TIFF or does not say."""
    try:
        with tifffile.TiffFile(file) as tiff:
            tags = tiff.pages.first.tags
            if tiff.ome_metadata:
                return _of_ome(tiff.ome_metadata)
            if tiff.imagej_metadata:
                unit = _UNITS_UM.get(str(tiff.imagej_metadata.get("unit", "")).lower())
            else:
                unit = _UNITS_UM["cm"] if _UNIT in tags and tags[_UNIT].value == _CENTIMETRE else None
            if unit is None:
                return None
            (x_pixels, x_units), (y_pixels, y_units) = tags[_WIDTH].value, tags[_HEIGHT].value
            return unit * y_units / y_pixels, unit * x_units / x_pixels
    except (tifffile.TiffFileError, KeyError, ValueError, TypeError, ZeroDivisionError):
        return None


def _of_ome(xml: str) -> tuple[float, float] | None:
    sizes = []
    for axis in "YX":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', xml)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', xml)
        factor = _UNITS_UM.get(unit[1].lower() if unit else "µm")
        if size is None or factor is None or float(size[1]) <= 0:
            return None
        sizes.append(float(size[1]) * factor)
    return sizes[0], sizes[1]
