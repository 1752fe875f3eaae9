"""Diameter of an image's objects, and the scale at which they have the size that a network was trained on."""

import numpy as np
from numpy.typing import NDArray

LEAST_FACTOR = 1.5
SMALLEST, LARGEST = 0.25, 4.0
_FEWEST = 3  # objects; fewer give no reliable size


def object_diameter_px(areas_px: NDArray[np.int64]) -> float | None:
    """Estimate the diameter of an image's objects from their areas; None for fewer than three.

    It is that of a circle with the area of the median pixel's object: half of all pixels inside objects are in larger
    ones, so small fragments, however many, change it little.
    """
    areas = np.sort(areas_px[areas_px > 0])
    if len(areas) < _FEWEST:
        return None
    median = areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]
    return float(np.sqrt(4 * median / np.pi))


def scale_to(known_px: float, found_px: float | None) -> float:
    """Compute the scale at which a network is shown an image, from the diameters it knows and those in the image.

    It is 1 where they differ by less than half or the image's is unknown; else their quotient, from 1/4 to 4.
    """
    if not found_px or max(known_px / found_px, found_px / known_px) < LEAST_FACTOR:
        return 1.0
    return min(max(known_px / found_px, SMALLEST), LARGEST)
