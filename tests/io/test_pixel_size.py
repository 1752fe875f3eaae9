"""Pixel sizes in micrometres, from files as tifffile, ImageJ and scanners write them."""

import io

import numpy as np
import pytest

from kaggle_unet.io.pixel_size import read_pixel_size
from tests.files import png, tiff

PIXELS = np.zeros((4, 5), np.uint8)
OME = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(tiff(PIXELS, ome=True, metadata=OME), (0.5, 0.25), id="OME, micrometres unless it says others"),
        pytest.param(
            tiff(PIXELS, ome=True, metadata={**OME, "PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "mm"}),
            (500, 0.00025),
            id="OME in nanometres and millimetres",
        ),
        pytest.param(tiff(PIXELS, ome=True, metadata={"axes": "YX"}), None, id="OME without sizes"),
        pytest.param(tiff(PIXELS, ome=True, metadata={**OME, "PhysicalSizeXUnit": "pixel"}), None, id="OME in pixels"),
        pytest.param(tiff(PIXELS, imagej=True, resolution=(4, 2), metadata={"unit": "um"}), (0.5, 0.25), id="ImageJ"),
        pytest.param(
            tiff(PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "\\u00B5m"}), (0.25, 0.25), id="ImageJ's µ"
        ),
        pytest.param(tiff(PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "inch"}), None, id="ImageJ, inch"),
        pytest.param(tiff(PIXELS, imagej=True), None, id="ImageJ without a unit"),
        pytest.param(
            tiff(PIXELS, resolution=(20000, 40000), resolutionunit="CENTIMETER", metadata=None), (0.25, 0.5), id="cm"
        ),
        pytest.param(tiff(PIXELS, resolution=(72, 72), resolutionunit="INCH", metadata=None), None, id="72 dpi"),
        pytest.param(tiff(PIXELS, resolution=(0, 0), resolutionunit="CENTIMETER", metadata=None), None, id="0 per cm"),
        pytest.param(tiff(PIXELS, metadata=None), None, id="no resolution"),
        pytest.param(png(PIXELS), None, id="PNG"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_a_size_is_read_where_the_file_has_one(data, expected):
    assert read_pixel_size(io.BytesIO(data)) == pytest.approx(expected)
