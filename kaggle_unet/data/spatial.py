"""Spatial augmentation: where a crop lies, how it is zoomed, rotated, bent (elastic deformation), turned and mirrored.

Zoom, rotation and bending are one map from the crop's pixels to the image's: the cost depends on the crop's size, not
the image's. Without them a crop is a copy, exact to the pixel.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Knots = NDArray[np.float32]

# Far enough apart that a nucleus is bent as a whole, near enough that its neighbour is bent differently.
_KNOT_PX = 40
_REMAP_LIMIT_PX = 32767  # OpenCV's; of larger images, it gets only the part that a crop shows
_ROTATIONS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True, eq=False)
class SpatialTransform:
    """The part of an image that a crop shows; `knots` are the displacements (x, y) of a coarse grid over the crop."""

    shape: tuple[int, int]
    centre_yx: tuple[float, float]
    zoom: float = 1.0
    angle: float = 0.0
    turns: int = 0
    mirrored: bool = False
    knots: Knots | None = None

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """float64 array, shape (2, 3): from (x, y, 1) of the crop's pixels, not yet bent or turned, to the image's."""
        height, width = self.shape
        (cosine, sine), (centre_y, centre_x) = (math.cos(self.angle), math.sin(self.angle)), self.centre_yx
        turn = np.array([[cosine, -sine], [sine, cosine]]) / self.zoom
        # cv2 counts from pixel centres, we from corners: a shift of half a pixel at both ends.
        offset = np.array([centre_x - 0.5, centre_y - 0.5]) - turn @ [(width - 1) / 2, (height - 1) / 2]
        return np.column_stack([turn, offset])

    @cached_property
    def maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 arrays, shape `shape`: x and y in the image of every pixel of the bent crop, not yet turned."""
        assert self.knots is not None
        height, width = self.shape
        bend = cv2.resize(self.knots, (width, height), interpolation=cv2.INTER_CUBIC)
        x = bend[..., 0] + np.arange(width, dtype=np.float32)
        y = bend[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        rows = self.matrix.astype(np.float32)
        return rows[0, 0] * x + rows[0, 1] * y + rows[0, 2], rows[1, 0] * x + rows[1, 1] * y + rows[1, 2]


def draw_knots(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float, grid: int | None = None) -> Knots:
    """Draw the displacements of an elastic deformation, smooth because its control points are far apart."""
    n_y, n_x = (grid or max(round(side / _KNOT_PX), 1) + 1 for side in shape)
    knots: Knots = rng.standard_normal((n_y, n_x, 2), dtype=np.float32).clip(-2, 2) * np.float32(sigma_px)
    return knots


def place(
    rng: np.random.Generator,
    image_shape: tuple[int, int],
    shape: tuple[int, int],
    *,
    zoom: float = 1.0,
    angle: float = 0.0,
    focus_yx: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Draw the centre of a crop in an image, with `focus_yx` so that this point is in the crop's inner half.

    >>> place(np.random.default_rng(0), (3, 9), (4, 9))
    (1.0, 4.5)
    """
    (height, width), cosine, sine = shape, abs(math.cos(angle)), abs(math.sin(angle))
    extent = (height * cosine + width * sine) / zoom, (width * cosine + height * sine) / zoom
    is_exact = zoom == 1.0 and angle == 0.0
    centres = []
    for axis, (size, side, draw) in enumerate(zip(image_shape, extent, rng.random(2), strict=True)):
        room = size - side
        if room < 0:
            start = room // 2 if is_exact else room / 2
        elif focus_yx is None:
            start = math.floor(draw * (room + 1)) if is_exact else draw * room
        else:
            start = min(max(focus_yx[axis] - side * (0.25 + 0.5 * draw), 0), room)
            start = round(start) if is_exact else start
        centres.append(start + side / 2)
    return centres[0], centres[1]


def cut(array: NDArray[Any], transform: SpatialTransform, *, nearest: bool = False) -> NDArray[Any]:
    """Cut a crop out of an image or its labels.

    Mirroring does not repeat the edge's pixel, and goes on beyond the image's own width: any crop can be cut from any
    image, even one of a single pixel.

    >>> cut(np.array([[1, 2, 3]], np.uint8), SpatialTransform((1, 5), (0.5, 1.5)))
    array([[2, 1, 2, 3, 2]], dtype=uint8)
    """
    if array.shape[2:] > (4,):  # OpenCV's limit
        parts = np.split(array, range(4, array.shape[2], 4), axis=2)
        return np.dstack([cut(part, transform, nearest=nearest) for part in parts])
    flags, (height, width) = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR, transform.shape
    if transform.knots is not None:
        x, y = transform.maps
        if max(array.shape[:2]) >= _REMAP_LIMIT_PX:
            top, left = math.floor(y.min()), math.floor(x.min())
            rows = mirror_indices(top, math.ceil(y.max()) - top + 2, array.shape[0])
            columns = mirror_indices(left, math.ceil(x.max()) - left + 2, array.shape[1])
            array, x, y = array[rows[:, None], columns], x - left, y - top
        crop = cv2.remap(array, x, y, flags, borderMode=cv2.BORDER_REFLECT_101)
    elif transform.zoom == 1.0 and transform.angle == 0.0:
        crop = _copy(array, transform)
    else:
        flags |= cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(array, transform.matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    if transform.turns:
        crop = cv2.rotate(crop, _ROTATIONS[transform.turns])
    if transform.mirrored:
        crop = cv2.flip(crop, 1)
    return crop.copy() if np.may_share_memory(crop, array) else crop


def _copy(array: NDArray[Any], transform: SpatialTransform) -> NDArray[Any]:
    shape, centre, sizes = transform.shape, transform.centre_yx, array.shape[:2]
    top, left = starts = [round(middle - side / 2) for middle, side in zip(centre, shape, strict=True)]
    if all(0 <= start <= size - side for start, side, size in zip(starts, shape, sizes, strict=True)):
        return array[top : top + shape[0], left : left + shape[1]]
    rows, columns = (mirror_indices(*axis) for axis in zip(starts, shape, sizes, strict=True))
    return array[rows[:, None], columns]


def mirror_indices(start: int, n: int, size: int) -> NDArray[np.intp]:
    """List the pixels shown by part of an axis that is mirrored at both ends.

    >>> mirror_indices(-2, 8, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(2 * (size - 1), 1)
    steps = np.arange(start, start + n) % period
    return np.minimum(steps, period - steps) if size > 1 else np.zeros(n, np.intp)
