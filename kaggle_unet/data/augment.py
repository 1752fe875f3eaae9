"""From one sample many: what the augmentation presets do, and doing it.

Geometry comes first, tones after, both drawn from one seed per call. Only image, labels and ignored pixels change here;
planes and weights are made from the changed labels, so that a border stays as wide as the codec says at any zoom.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.data.tones import UNCHANGED, Levels, Tones, change_tones
from kaggle_unet.data.views import View, cut, place
from kaggle_unet.types import Image, Mask


@dataclass(frozen=True)
class Preset:
    """What may happen to a sample.

    Attributes
    ----------
    turns : bool
        Quarter turns, each of the four as likely.
    mirror : bool
        Left and right change places in half of all cases.
    p_warp : float
        Probability of a zoom and a rotation.
    zoom : tuple of float, optional
        Range of the zoom, drawn evenly in its logarithm; None takes the settings' `scale`.
    max_degrees : float
        Rotation, either way.
    tones : Tones
        What happens to the values.
    """

    turns: bool = False
    mirror: bool = False
    p_warp: float = 0.0
    zoom: tuple[float, float] | None = None
    max_degrees: float = 0.0
    tones: Tones = UNCHANGED


PRESETS = {
    "none": Preset(),
    "light": Preset(turns=True, mirror=True, tones=Tones(p_levels=0.5, contrast=(0.8, 1.2), brightness=(-0.1, 0.1))),
    "nuclei": Preset(
        turns=True,
        mirror=True,
        p_warp=0.5,
        max_degrees=45,
        tones=Tones(
            p_levels=0.5,
            contrast=(0.7, 1.3),
            brightness=(-0.15, 0.15),
            p_gamma=0.5,
            gamma=(0.6, 1.6),
            p_noise=0.2,
            noise=(0.01, 0.1),
            p_blur=0.2,
            p_colour=0.2,
        ),
    ),
    # A tile has an up and a down. A zoom of 1.25 shows 80 % of the tile's side, from anywhere in it.
    "salt": Preset(
        mirror=True,
        p_warp=0.4,
        zoom=(1.0, 1.25),
        tones=Tones(p_levels=0.3, contrast=(0.9, 1.1), brightness=(-0.1, 0.1)),
    ),
}


def augment(
    image: Image,
    labels: NDArray[Any],
    ignore: Mask | None,
    settings: AugmentationSettings,
    *,
    seed: int,
    levels: Levels = (0.0, 255.0),
) -> tuple[Image, NDArray[Any], Mask | None]:
    """Draw one view of a sample.

    Parameters
    ----------
    image : uint8 array, shape (H, W) or (H, W, 3)
        Not changed.
    labels : int32 or uint16 array, shape (H, W)
        Not changed.
    ignore : bool array, shape (H, W), or None
        Not changed.
    settings : AugmentationSettings
        Preset and size of the crop.
    seed : int
        Not negative; the same seed draws the same view, see `stable_seed`.
    levels : tuple of float
        The gray levels that count as 0 and 1 when values change.

    Returns
    -------
    image : uint8 array, shape (crop_px, crop_px) or (crop_px, crop_px, 3)
        The view; without `crop_px` of the image's own shape, perhaps turned.
    labels : array of the dtype of `labels`, same height and width
        The ids of `labels`, of which some may be missing now.
    ignore : bool array, same height and width, or None
        As above.

    Notes
    -----
    An instance cut by the crop's edge keeps its id, in several parts if need be. A crop larger than the image shows it
    mirrored, labels included. A crop with no instance is as good as any other.
    """
    assert image.shape[:2] == labels.shape
    preset = PRESETS[settings.preset]
    rng = np.random.default_rng(seed)
    view = _draw_view(rng, preset, settings, labels.shape)
    return (
        change_tones(cut(image, view), preset.tones, rng, levels=levels),
        cut(labels, view, nearest=True),
        None if ignore is None else cut(ignore.view(np.uint8), view, nearest=True).view(np.bool_),
    )


def stable_seed(*numbers: int) -> int:
    """Mix numbers into one seed, the same in every process and on every machine.

    Parameters
    ----------
    *numbers : int
        Such as the run's seed, the epoch, and the sample's index.

    Returns
    -------
    seed : int
        From 0 to 2⁶⁴ − 1.

    Examples
    --------
    >>> stable_seed(1, 23) == stable_seed(1, 23)
    True
    >>> stable_seed(1, 23) == stable_seed(12, 3)
    False
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _draw_view(
    rng: np.random.Generator, preset: Preset, settings: AugmentationSettings, image_shape: tuple[int, ...]
) -> View:
    height, width = image_shape
    side = settings.crop_px
    shape = (height, width) if side is None else (side, side)
    zoom, angle = 1.0, 0.0
    if rng.random() < preset.p_warp:
        low, high = preset.zoom or settings.scale
        zoom = math.exp(rng.uniform(math.log(low), math.log(high)))
        angle = math.radians(rng.uniform(-preset.max_degrees, preset.max_degrees))
    return View(
        shape=shape,
        centre_yx=place(rng, (height, width), shape, zoom=zoom, angle=angle),
        zoom=zoom,
        angle=angle,
        turns=int(rng.integers(4)) if preset.turns else 0,
        mirrored=preset.mirror and bool(rng.random() < 0.5),
    )
