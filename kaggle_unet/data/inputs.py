"""Network inputs: the chosen channels of an image, normalised to about 0…1.

The intensity range is measured on the luma and applied to all colours alike, so that hues are preserved; channels
chosen by number have a range each. Nothing is clipped: the brightest 0.2 % of an image lie above 1. A crop is
normalised with the range of the image it was cut from: with its own, it would differ from the same pixels in the image,
and brightness augmentation would be undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.types import Image, Inputs

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's convert("L")
PERCENTILES = (1.0, 99.8)  # StarDist's choice for nuclei
COLOURS = ("red", "green", "blue")
DEPTH_SCALE = 1000.0  # the depths of TGS run from 51 to 959
# The gray levels that become 0 and 1, of all channels or (float64 arrays, shape (C,)) of each; the first is larger if
# the image is inverted.
IntensityRange = tuple[Any, Any]


def find_intensity_range(image: Image, settings: InputSettings) -> IntensityRange:
    """Return the gray levels of a whole image that become 0 and 1; the first is larger if the image is inverted.

    `percentile` takes the luma's 1st and 99.8th percentiles. If they lie less than one gray level apart (a dark field
    with a few bright pixels), its minimum and maximum take their place; a constant image becomes 0. Floats have no
    least distance. `invert_bright` swaps the two levels if the median luma lies above their midpoint.

    >>> find_intensity_range(np.array([[0, 50, 200]], np.uint8), InputSettings(normalize="range"))
    (0.0, 255.0)
    >>> find_intensity_range(np.array([[0, 150, 200]], np.uint8), InputSettings(normalize="range", invert_bright=True))
    (255.0, 0.0)
    """
    if image.dtype not in (np.uint8, np.uint16, np.float32) or image.size == 0 or image.ndim not in (2, 3):
        msg = f"image is {image.dtype} of shape {image.shape}; expected uint8, uint16 or float32, (H, W) or (H, W, C)"
        raise DataError(msg)
    refuse_channels(image, settings, "the image")
    if not settings.numbers:
        return _find_range(image if image.ndim == 2 else image @ LUMA, image.dtype, settings)
    ranges = [_find_range(channel, image.dtype, settings) for channel in np.moveaxis(np.atleast_3d(image), 2, 0)]
    low, high = np.array(ranges, np.float64).T
    return low, high


def refuse_channels(image: Image, settings: InputSettings, where: str) -> None:
    """Raise `DataError` if an image lacks the channels that the inputs need."""
    n = 1 if image.ndim == 2 else image.shape[2]
    names = ", ".join(f"channel{number}" for number in range(n))
    if settings.numbers and max(settings.numbers) >= n:
        msg = f"{where} has {n} channel{'s' * (n > 1)} ({names}), but input.channels contains channel"
        raise DataError(f"{msg}{max(settings.numbers)}; choose from its own")
    if not settings.numbers and n not in {1, 3}:
        msg = f"{where} has {n} channels; choose with input.channels from {names}, or take one with competition.channel"
        raise DataError(msg)


def _find_range(values: NDArray[Any], dtype: np.dtype[Any], settings: InputSettings) -> tuple[float, float]:
    low, high = 0.0, 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    if settings.normalize == "range" and dtype.kind == "f" and not low <= values.min() <= values.max() <= high:
        msg = f"the image runs from {values.min():g} to {values.max():g}; expected 0 to 1, as input.normalize is range"
        raise DataError(msg)
    if settings.normalize == "range" and not settings.invert_bright:
        return low, high
    luma = np.sort(values, axis=None)
    ranks = np.array([*PERCENTILES, 50.0]) / 100 * (luma.size - 1)  # interpolated as `numpy.percentile` does
    below = ranks.astype(int)
    lower, upper = (luma[np.minimum(index, luma.size - 1)].astype(float) for index in (below, below + 1))
    lowest, highest, median = (lower * (1 - ranks % 1) + upper * (ranks % 1)).tolist()
    if settings.normalize == "percentile":
        low, high = lowest, highest
        least = np.finfo(np.float32).tiny if dtype.kind == "f" else 1
        if high - low < least:
            low, high = float(luma[0]), float(luma[-1])
        high = high if high - low >= least else float(low + max(1, np.spacing(abs(low))))
    is_bright = settings.invert_bright and median - low > (high - low) / 2
    return (high, low) if is_bright else (low, high)


def prepare(
    image: Image, settings: InputSettings, *, depth: float | None = None, intensity_range: IntensityRange | None = None
) -> Inputs:
    """Return the network inputs (C, H, W) of an image, or of a crop with its whole image's intensity range.

    Position and depth are neither scaled nor inverted; `mean` and `std` apply to every channel. The ramp spans the
    image itself, so padding mirrors it as well, and a crop has its own.

    >>> image = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    >>> gray, ramp = prepare(image, InputSettings(channels=("gray", "ramp"), normalize="range"))
    >>> gray
    array([[0. , 0.2],
           [0.4, 1. ]], dtype=float32)
    >>> ramp
    array([[0., 0.],
           [1., 1.]], dtype=float32)
    """
    low, high = find_intensity_range(image, settings) if intensity_range is None else intensity_range
    ramp = np.linspace(0, 1, image.shape[0], dtype=np.float32)[:, np.newaxis]
    inputs = np.empty((len(settings.channels), *image.shape[:2]), np.float32)
    for plane, channel in zip(inputs, settings.channels, strict=True):
        if channel == "ramp":
            plane[:] = ramp
        elif channel == "depth":
            plane[:] = require_depth(depth) / DEPTH_SCALE
        elif channel.startswith("channel"):
            number = int(channel.removeprefix("channel"))
            _normalise(np.atleast_3d(image)[..., number], low[number], high[number], plane)
        elif channel in COLOURS and image.ndim == 3:
            _normalise(image[..., COLOURS.index(channel)], low, high, plane)
        else:
            _normalise(image, low, high, plane)
        if channel == "gray_ramp":
            np.multiply(plane, ramp, out=plane)
    if (settings.mean, settings.std) != (0.0, 1.0):
        inputs -= settings.mean
        inputs /= settings.std
    return inputs


def channel_weights(wanted: Sequence[str], shown: Sequence[str]) -> NDArray[np.float32] | None:
    """Return the weights (wanted, shown) that mix channels from others, which share a range, or None if they can't.

    >>> channel_weights(["gray", "red"], ["red", "green", "blue"])
    array([[0.299, 0.587, 0.114],
           [1.   , 0.   , 0.   ]], dtype=float32)
    """
    luma = dict(zip(COLOURS, LUMA, strict=True)) if set(COLOURS) <= set(shown) else {}
    rows = [{name: 1.0} if name in shown else luma if name == "gray" else {} for name in wanted]
    return np.array([[row.get(name, 0) for name in shown] for row in rows], np.float32) if all(rows) else None


def with_channels(inputs: Mapping[str, Any], channels: Sequence[str]) -> Mapping[str, Any]:
    """Return a network's section `input`, with the channels shown if its own can be made from them."""
    own = inputs.get("channels")
    can_be_made = own and channel_weights(own, channels) is not None
    return {**inputs, "channels": list(channels)} if can_be_made else inputs


def _normalise(levels: Image, low: float, high: float, plane: NDArray[np.float32]) -> None:
    """Fill a plane with the normalised gray levels of one channel, or luma of three."""
    origin, span = np.float32(low), np.float32(high - low)
    if levels.ndim == 3:
        plane[:] = (levels @ LUMA - origin) / span
    elif levels.dtype == np.uint8:  # looked up, instead of several passes over the image
        cv2.LUT(np.ascontiguousarray(levels), (np.arange(256, dtype=np.float32) - origin) / span, dst=plane)
    else:
        np.divide(levels.astype(np.float32) - origin, span, out=plane)


def refuse_missing_depths(
    settings: InputSettings, ids: Iterable[str], numbers: Mapping[str, Mapping[str, float]], where: str
) -> None:
    """Raise `DataError` if the inputs have a channel `depth` and some samples have no finite one."""
    if "depth" not in settings.channels:
        return
    without = [f"sample {id_!r}" for id_ in ids if not np.isfinite(numbers.get(id_, {}).get("depth", np.nan))]
    if without:
        msg = f"{where}: {len(without)} samples have no finite depth, but input.channels contains depth; add their "
        msg += "rows to depths.csv beside the images (a store must then be made again), or drop the channel"
        raise DataError(msg, without)


def require_depth(depth: float | None) -> float:
    """Return a sample's depth, or raise `ConfigError` if it has none that is finite."""
    if depth is None or not np.isfinite(depth):
        msg = f"input.channels contains depth, but this sample has {'none' if depth is None else depth}; put depths.csv"
        raise ConfigError(f"{msg} beside the images, or remove depth")
    return depth
