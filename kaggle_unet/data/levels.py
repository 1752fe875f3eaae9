"""Inputs of a crop, on the scale of the whole image.

`prepare` stretches what it is given. A crop stretched by itself would look unlike the same pixels in the whole image
that a network is asked about later, and a change of brightness would be stretched away again.
"""

import numpy as np

from kaggle_unet.data.inputs import prepare
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.data.tones import Levels
from kaggle_unet.types import Image, Inputs

_COLOURS = ("gray", "red", "green", "blue")
_UNSCALED = {"normalize": "range", "invert_bright": False, "mean": 0.0, "std": 1.0}


def find_levels(image: Image, settings: InputSettings) -> Levels:
    """Find the gray levels that `prepare` maps to 0 and 1.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Whole.
    settings : InputSettings
        How it is scaled.

    Returns
    -------
    levels : tuple of float
        The first is larger where the image is inverted.

    Examples
    --------
    >>> find_levels(np.array([[0, 50, 200]], np.uint8), InputSettings(normalize="range"))
    (0.0, 255.0)
    """
    if settings.normalize == "range" and not settings.invert_bright:
        return 0.0, 255.0
    # One line through two pixels, as `prepare` shows them and as they are.
    shown = prepare(image, settings.model_copy(update={"channels": ("gray",), "mean": 0.0, "std": 1.0})).ravel()
    ends = [int(shown.argmin()), int(shown.argmax())]
    pixels = image.reshape(-1, 1, *image.shape[2:])[ends]
    grays = 255 * prepare(pixels, settings.model_copy(update={"channels": ("gray",), **_UNSCALED})).ravel()
    (x0, x1), (gray0, gray1) = (float(x) for x in shown[ends]), (float(gray) for gray in grays)
    if settings.normalize == "range":
        is_inverted = gray0 > gray1 or abs(255 * x0 - gray0) > 0.5
        return (255.0, 0.0) if is_inverted else (0.0, 255.0)
    span = 1.0 if x0 == x1 else (gray1 - gray0) / (x1 - x0)
    return gray0 - x0 * span, gray0 - x0 * span + span


def prepare_crop(image: Image, settings: InputSettings, levels: Levels, *, depth: float | None = None) -> Inputs:
    """Turn a crop into the inputs of a network, on the scale of the image it was cut from.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        The crop.
    settings : InputSettings
        Which channels, and how they are scaled.
    levels : tuple of float
        The whole image's, from `find_levels`.
    depth : float, optional
        As in `prepare`.

    Returns
    -------
    inputs : float32 array, shape (channels, H, W)
        For a whole image what `prepare` gives, up to rounding. The ramp is the crop's own.
    """
    low, high = levels
    planes = prepare(image, settings.model_copy(update=_UNSCALED), depth=depth)
    ramp = np.linspace(0, 1, image.shape[0], dtype=np.float32)[:, np.newaxis]
    for plane, channel in zip(planes, settings.channels, strict=True):
        if channel in _COLOURS:
            plane[:] = (255 * plane - np.float32(low)) / np.float32(high - low)
        elif channel == "gray_ramp":
            plane[:] = (255 * plane - np.float32(low) * ramp) / np.float32(high - low)
    return (planes - np.float32(settings.mean)) / np.float32(settings.std)
