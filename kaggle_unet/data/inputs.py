"""What a network is given for one image: chosen channels, stretched to about 0…1.

The stretch is measured on the luma and applied to every colour alike, so that hues survive, and nothing is clipped: the
brightest 0.2 % of a picture lies above 1.
"""

from collections.abc import Callable

import numpy as np

from kaggle_unet.data.settings import Channel, InputSettings
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.types import Image, Inputs

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's convert("L")
PERCENTILES = (1.0, 99.8)  # StarDist's choice for nuclei
DEPTH_SCALE = 1000.0  # the depths of TGS run from 51 to 959


def prepare(image: Image, settings: InputSettings, *, depth: float | None = None) -> Inputs:
    """Turn an image into the inputs of a network.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Gray or RGB.
    settings : InputSettings
        Which channels, and how they are scaled.
    depth : float, optional
        The sample's depth, for the channel `depth`; divided by 1000.

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
    `percentile` maps the luma's 1st and 99.8th percentiles to 0 and 1. Where they lie less than one gray level apart
    (a dark field with a few bright pixels) its minimum and maximum take their place; a constant image becomes 0.
    `invert_bright` replaces x by 1 − x where the median of the stretched luma is above ½, half of the stretched range.
    Position and depth are neither stretched nor inverted; `mean` and `std` apply to every channel. The ramp is laid
    over the image itself, so padding mirrors it too.

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
    if image.dtype != np.uint8 or image.size == 0 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        msg = f"image is {image.dtype} of shape {image.shape}; wanted uint8, (H, W) or (H, W, 3); decode it again"
        raise DataError(msg)
    rgb = image if image.ndim == 3 else image[..., np.newaxis].repeat(3, axis=2)
    gray = rgb @ LUMA if image.ndim == 3 else image.astype(np.float32)
    scale = _intensity_scale(gray, settings)
    shown = np.dstack([scale(gray), scale(rgb.astype(np.float32))])
    planes = [_CHANNELS[channel](shown, depth) for channel in settings.channels]
    return np.ascontiguousarray((np.stack(planes) - settings.mean) / settings.std, dtype=np.float32)


def _intensity_scale(gray: Inputs, settings: InputSettings) -> Callable[[Inputs], Inputs]:
    """Find the map of gray levels to about 0…1 that `settings` ask for."""
    low, high = _stretched_range(gray) if settings.normalize == "percentile" else (0.0, 255.0)
    if settings.invert_bright and np.median(gray) - low > (high - low) / 2:
        low, high = high, low
    return lambda levels: (levels - np.float32(low)) / np.float32(high - low)


def _stretched_range(gray: Inputs) -> tuple[float, float]:
    """Give the gray levels that become 0 and 1; they always differ."""
    low, high = (float(level) for level in np.percentile(gray, PERCENTILES))
    if high - low < 1:
        low, high = float(gray.min()), float(gray.max())
    return low, max(high, low + 1)


def _ramp(shown: Inputs, depth: float | None) -> Inputs:  # noqa: ARG001  every channel is made by the same call
    height, width = shown.shape[:2]
    column = np.linspace(0, 1, height, dtype=np.float32)
    return np.broadcast_to(column[:, np.newaxis], (height, width))


def _depth(shown: Inputs, depth: float | None) -> Inputs:
    if depth is None:
        msg = (
            "input.channels has depth, but this sample has none; give depths.csv beside the images, or drop the channel"
        )
        raise ConfigError(msg)
    return np.full(shown.shape[:2], depth / DEPTH_SCALE, dtype=np.float32)


# (H, W, 4) of scaled gray, red, green, blue, and the depth -> (H, W)
_CHANNELS: dict[Channel, Callable[[Inputs, float | None], Inputs]] = {
    "gray": lambda shown, _: shown[..., 0],
    "red": lambda shown, _: shown[..., 1],
    "green": lambda shown, _: shown[..., 2],
    "blue": lambda shown, _: shown[..., 3],
    "depth": _depth,
    "ramp": _ramp,
    "gray_ramp": lambda shown, depth: shown[..., 0] * _ramp(shown, depth),
}
