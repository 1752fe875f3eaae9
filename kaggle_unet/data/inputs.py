"""What a network is given for one image: chosen channels, stretched to about 0…1.

The stretch is measured on the luma and applied to every colour alike, so that hues survive, and nothing is clipped: the
brightest 0.2 % of a picture lies above 1. A crop is given the stretch of the image it was cut from: stretched by
itself, it would look unlike the same pixels in the whole image, and a change of brightness would be stretched away.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.settings import Channel, InputSettings
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.types import Image, Inputs

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's convert("L")
PERCENTILES = (1.0, 99.8)  # StarDist's choice for nuclei
DEPTH_SCALE = 1000.0  # the depths of TGS run from 51 to 959
# The gray levels that become 0 and 1; the first is larger where an image is inverted.
IntensityRange = tuple[float, float]


def find_intensity_range(image: Image, settings: InputSettings) -> IntensityRange:
    """Find the gray levels that become 0 and 1.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Whole.
    settings : InputSettings
        How it is scaled.

    Returns
    -------
    intensity_range : tuple of float
        They differ; the first is larger where the image is inverted.

    Raises
    ------
    DataError
        If `image` is not a gray or RGB image of at least one pixel.

    Notes
    -----
    `percentile` takes the luma's 1st and 99.8th percentiles. Where they lie less than one gray level apart (a dark
    field with a few bright pixels) its minimum and maximum take their place; a constant image becomes 0.
    `invert_bright` swaps the two where the median luma lies above the middle between them.

    Examples
    --------
    >>> find_intensity_range(np.array([[0, 50, 200]], np.uint8), InputSettings(normalize="range"))
    (0.0, 255.0)
    >>> find_intensity_range(np.array([[0, 150, 200]], np.uint8), InputSettings(normalize="range", invert_bright=True))
    (255.0, 0.0)
    """
    _check(image)
    low, high = 0.0, 255.0
    if settings.normalize == "range" and not settings.invert_bright:
        return low, high
    n, luma = image.shape[0] * image.shape[1], _sorted_luma(image)
    if settings.normalize == "percentile":
        low, high = (_between(luma, percent / 100 * (n - 1)) for percent in PERCENTILES)
        if high - low < 1:
            low, high = luma(0), luma(n - 1)
        high = max(high, low + 1)
    is_bright = settings.invert_bright and _between(luma, (n - 1) / 2) - low > (high - low) / 2
    return (high, low) if is_bright else (low, high)


def prepare(
    image: Image, settings: InputSettings, *, depth: float | None = None, intensity_range: IntensityRange | None = None
) -> Inputs:
    """Turn an image, or a crop of one, into the inputs of a network.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Gray or RGB.
    settings : InputSettings
        Which channels, and how they are scaled.
    depth : float, optional
        The sample's depth, for the channel `depth`; divided by 1000.
    intensity_range : tuple of float, optional
        The gray levels that become 0 and 1: for a crop its whole image's, from
        `find_intensity_range`. None finds the image's own.

    Returns
    -------
    inputs : float32 array, shape (C, H, W)
        One plane per channel of `settings.channels`, in order.

    Raises
    ------
    ConfigError
        If the channel `depth` is asked for and `depth` is None.
    DataError
        If `image` is not a gray or RGB image of at least one pixel.

    Notes
    -----
    Position and depth are neither stretched nor inverted; `mean` and `std` apply to every channel. The ramp is laid
    over the image itself, so padding mirrors it too, and a crop has its own.

    Examples
    --------
    >>> image = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    >>> gray, ramp = prepare(image, InputSettings(channels=("gray", "ramp"), normalize="range"))
    >>> gray
    array([[0. , 0.2],
           [0.4, 1. ]], dtype=float32)
    >>> ramp
    array([[0., 0.],
           [1., 1.]], dtype=float32)
    """
    _check(image)
    shown = _Shown(image, find_intensity_range(image, settings) if intensity_range is None else intensity_range, depth)
    inputs = np.empty((len(settings.channels), *image.shape[:2]), np.float32)
    for plane, channel in zip(inputs, settings.channels, strict=True):
        _CHANNELS[channel](shown, plane)
    if (settings.mean, settings.std) != (0.0, 1.0):
        inputs -= settings.mean
        inputs /= settings.std
    return inputs


def refuse_missing_depths(
    settings: InputSettings, ids: Iterable[str], numbers: Mapping[str, Mapping[str, float]], where: str
) -> None:
    """Make sure that each sample has the depth that a network is given."""
    if "depth" not in settings.channels:
        return
    without = [f"sample {id_!r}" for id_ in ids if "depth" not in numbers.get(id_, {})]
    if without:
        msg = f"{where}: {len(without)} samples have no depth, but input.channels has depth; add their rows to "
        msg += "depths.csv beside the images (a store must then be made again), or drop the channel"
        raise DataError(msg, without)


def known_depth(depth: float | None) -> float:
    """Return a sample's depth, or raise `ConfigError` if it has none."""
    if depth is None:
        msg = "input.channels has depth, but this sample has none; give depths.csv beside the images, or drop it"
        raise ConfigError(msg)
    return depth


def _check(image: Image) -> None:
    if image.dtype != np.uint8 or image.size == 0 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        msg = f"image is {image.dtype} of shape {image.shape}; wanted uint8, (H, W) or (H, W, 3); decode it again"
        raise DataError(msg)


def _sorted_luma(image: Image) -> Callable[[int], float]:
    """Give what looks up the luma that has a rank, the darkest pixel's being 0."""
    if image.ndim == 3:
        luma = np.sort((image @ LUMA).ravel())
        return lambda rank: float(luma[rank])
    n_up_to = np.cumsum(np.bincount(image.ravel(), minlength=256))
    return lambda rank: float(np.searchsorted(n_up_to, rank, side="right"))


def _between(luma: Callable[[int], float], rank: float) -> float:
    """Interpolate between two ranks, as `numpy.percentile` does."""
    below = int(rank)
    fraction = rank - below
    return luma(below) if fraction == 0 else luma(below) * (1 - fraction) + luma(below + 1) * fraction


class _Shown(NamedTuple):
    """An image, and all that its channels are made of."""

    image: Image
    intensity_range: IntensityRange
    depth: float | None


def _scale(values: Inputs, intensity_range: IntensityRange) -> Inputs:
    low, high = intensity_range
    return (values - np.float32(low)) / np.float32(high - low)


def _look_up(gray: NDArray[np.uint8], shown: _Shown, plane: Inputs) -> None:
    # One table of 256 numbers instead of passes over the image.
    cv2.LUT(gray, _scale(np.arange(256, dtype=np.float32), shown.intensity_range), dst=plane)


def _gray(shown: _Shown, plane: Inputs) -> None:
    if shown.image.ndim == 3:
        plane[:] = _scale(shown.image @ LUMA, shown.intensity_range)
    else:
        _look_up(shown.image, shown, plane)


def _colour(index: int) -> Callable[[_Shown, Inputs], None]:
    def fill(shown: _Shown, plane: Inputs) -> None:
        image = shown.image
        _look_up(image if image.ndim == 2 else np.ascontiguousarray(image[..., index]), shown, plane)

    return fill


def _ramp(shown: _Shown, plane: Inputs) -> None:  # noqa: ARG001  every channel is made by the same call
    plane[:] = np.linspace(0, 1, plane.shape[0], dtype=np.float32)[:, np.newaxis]


def _gray_ramp(shown: _Shown, plane: Inputs) -> None:
    _gray(shown, plane)
    plane *= np.linspace(0, 1, plane.shape[0], dtype=np.float32)[:, np.newaxis]


def _depth(shown: _Shown, plane: Inputs) -> None:
    plane[:] = known_depth(shown.depth) / DEPTH_SCALE


_CHANNELS: dict[Channel, Callable[[_Shown, Inputs], None]] = {
    "gray": _gray,
    "red": _colour(0),
    "green": _colour(1),
    "blue": _colour(2),
    "depth": _depth,
    "ramp": _ramp,
    "gray_ramp": _gray_ramp,
}
