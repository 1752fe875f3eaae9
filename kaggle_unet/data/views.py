"""Random views of an image: where a crop lies, how it is zoomed, rotated, turned and mirrored.

A view is drawn once and then cut from image and labels alike. A zoomed or rotated view is one affine map from the
crop's pixels to the image's, so its cost follows the crop's size, not the image's, and the crop's corners come from the
image wherever it is large enough; all other views are copies, exact to the pixel.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """What one crop shows of an image.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the crop before it is turned, in pixels.
    centre_yx : tuple of float
        Of the crop in the image; the first pixel's centre is (0.5, 0.5).
    zoom : float
        Above 1 things look larger.
    angle : float
        Rotation in radians.
    turns : int
        Quarter turns, counter-clockwise, done last but for the mirror.
    mirrored : bool
        Whether left and right change places, last.
    """

    shape: tuple[int, int]
    centre_yx: tuple[float, float]
    zoom: float = 1.0
    angle: float = 0.0
    turns: int = 0
    mirrored: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether every pixel of the crop is one of the image's."""
        return self.zoom == 1.0 and self.angle == 0.0


def place(
    rng: np.random.Generator,
    image_shape: tuple[int, int],
    shape: tuple[int, int],
    *,
    zoom: float = 1.0,
    angle: float = 0.0,
) -> tuple[float, float]:
    """Draw where in an image a crop lies.

    Parameters
    ----------
    rng : Generator
        Source of chance; two numbers are drawn, whatever the sizes.
    image_shape : tuple of int
        Height and width of the image.
    shape : tuple of int
        Height and width of the crop.
    zoom, angle : float
        Of the crop.

    Returns
    -------
    centre_yx : tuple of float
        Such that all of the crop lies inside the image; the image's own centre along an axis where it can't. For an
        exact view it puts the crop's pixels on the image's.

    Examples
    --------
    >>> place(np.random.default_rng(0), (3, 9), (4, 9))
    (1.0, 4.5)
    """
    sides = _extent(shape, zoom, angle)
    draws = rng.random(2)
    is_exact = zoom == 1.0 and angle == 0.0
    centres = []
    for size, side, draw in zip(image_shape, sides, draws, strict=True):
        room = size - side
        if is_exact:
            start = math.floor(draw * (room + 1)) if room >= 0 else room // 2
        else:
            start = draw * room if room >= 0 else room / 2
        centres.append(start + side / 2)
    return centres[0], centres[1]


def _extent(shape: tuple[int, int], zoom: float, angle: float) -> tuple[float, float]:
    """Height and width of the image's part that holds the crop."""
    height, width = shape
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    return (height * cosine + width * sine) / zoom, (width * cosine + height * sine) / zoom


def cut(array: NDArray[Any], view: View, *, nearest: bool = False) -> NDArray[Any]:
    """Take a view of an image or of its labels.

    Parameters
    ----------
    array : array, shape (H, W) or (H, W, channels)
        Of uint8, uint16, int32 or float32.
    view : View
        What to show; what lies outside the image is mirrored at its edge.
    nearest : bool
        Take the nearest pixel, as labels need it, instead of mixing four.

    Returns
    -------
    crop : array, shape of `view` (turned), dtype of `array`
        A contiguous copy.

    Notes
    -----
    Mirroring does not repeat the edge's pixel, and goes on beyond the image's own width: any crop can be taken of any
    image, one of a single pixel included.

    Examples
    --------
    >>> cut(np.array([[1, 2, 3]], np.uint8), View((1, 5), (0.5, 1.5)))
    array([[2, 1, 2, 3, 2]], dtype=uint8)
    """
    crop = _copy(array, view) if view.is_exact else _warp(array, view, nearest)
    crop = np.rot90(crop, view.turns)
    return np.array(crop[:, ::-1] if view.mirrored else crop, order="C")


def _copy(array: NDArray[Any], view: View) -> NDArray[Any]:
    starts = [round(centre - side / 2) for centre, side in zip(view.centre_yx, view.shape, strict=True)]
    if all(0 <= start <= size - side for start, side, size in zip(starts, view.shape, array.shape[:2], strict=True)):
        top, left = starts
        return array[top : top + view.shape[0], left : left + view.shape[1]]
    rows, columns = (
        mirror_indices(start, side, size) for start, side, size in zip(starts, view.shape, array.shape[:2], strict=True)
    )
    return array[rows[:, None], columns]


def mirror_indices(start: int, n: int, size: int) -> NDArray[np.intp]:
    """List which pixels a stretch of an axis shows when the axis is mirrored at both ends.

    Parameters
    ----------
    start : int
        The stretch's first pixel; may be negative.
    n : int
        Its length.
    size : int
        The axis's length.

    Returns
    -------
    indices : intp array, shape (n,)
        From 0 to `size` − 1.

    Examples
    --------
    >>> mirror_indices(-2, 8, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(2 * (size - 1), 1)
    steps = np.arange(start, start + n) % period
    return np.minimum(steps, period - steps) if size > 1 else np.zeros(n, np.intp)


def _warp(array: NDArray[Any], view: View, nearest: bool) -> NDArray[Any]:
    height, width = view.shape
    (cosine, sine), (centre_y, centre_x) = (math.cos(view.angle), math.sin(view.angle)), view.centre_yx
    turn = np.array([[cosine, -sine], [sine, cosine]]) / view.zoom
    # cv2 counts from pixel centres, we from corners: half a pixel off at both ends.
    offset = np.array([centre_x - 0.5, centre_y - 0.5]) - turn @ [(width - 1) / 2, (height - 1) / 2]
    return cv2.warpAffine(
        array,
        np.column_stack([turn, offset]),
        (width, height),
        flags=(cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
