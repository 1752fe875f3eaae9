"""From one sample many: doing what the augmentation presets say.

Geometry comes first, copied nuclei second, tones last, all drawn from one seed per call. Only image, labels and ignored
pixels change here; planes and weights are made from the changed labels, so that a border stays as wide as the codec
says at any zoom, and follows copied nuclei.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.inputs import Levels
from kaggle_unet.data.paste import paste
from kaggle_unet.data.presets import PRESETS
from kaggle_unet.data.scene import Scene
from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.data.tones import change_tones
from kaggle_unet.data.views import View, cut, draw_knots, place
from kaggle_unet.types import Image, Mask


@dataclass(frozen=True, eq=False)
class Crop:
    """One view of a sample."""

    image: Image
    labels: NDArray[Any]
    ignore: Mask | None
    levels: Levels


def augment(scene: Scene, settings: AugmentationSettings, *, seed: int) -> Crop:
    """Draw one view of a sample.

    An instance cut by the crop's edge keeps its id, in several parts if need be. A crop larger than the image shows it
    mirrored, labels included. A crop with no instance is as good as any other.
    """
    assert scene.image.shape[:2] == scene.labels.shape
    preset = PRESETS[settings.preset]
    rng = np.random.default_rng(seed)
    view = draw_view(rng, settings, scene)
    ignore = None if scene.ignore is None else cut(scene.ignore.view(np.uint8), view, nearest=True).view(np.bool_)
    crop = Crop(cut(scene.image, view), cut(scene.labels, view, nearest=True), ignore, scene.levels)
    if preset.p_paste and rng.random() < preset.p_paste:
        crop = _copy_nuclei(crop, view, scene, rng, n=int(rng.integers(1, preset.max_pasted + 1)))
    image, levels = change_tones(crop.image, preset.tones, rng, levels=crop.levels)
    return replace(crop, image=image, levels=levels)


def stable_seed(*numbers: int) -> int:
    """Mix numbers into one seed, the same in every process and on every machine.

    >>> stable_seed(1, 23) == stable_seed(1, 23)
    True
    >>> stable_seed(1, 23) == stable_seed(12, 3)
    False
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def draw_view(rng: np.random.Generator, settings: AugmentationSettings, scene: Scene) -> View:
    """Draw where a crop lies and how it is zoomed, rotated, bent, turned and mirrored."""
    preset = PRESETS[settings.preset]
    height, width = scene.labels.shape
    side = settings.crop_px
    shape = (height, width) if side is None else (side, side)
    zoom, angle, knots = 1.0, 0.0, None
    is_warped = rng.random() < preset.p_warp
    if is_warped:
        low, high = preset.zoom or settings.scale
        zoom = math.exp(rng.uniform(math.log(low), math.log(high)))
        angle = math.radians(rng.uniform(-preset.max_degrees, preset.max_degrees))
    focus = _draw_middle(rng, settings.crop_finds_objects, scene)
    centre = place(rng, (height, width), shape, zoom=zoom, angle=angle, focus_yx=focus)
    if is_warped and preset.max_shift:
        dy, dx = rng.uniform(-preset.max_shift, preset.max_shift, 2)
        centre = centre[0] + float(dy) * shape[0], centre[1] + float(dx) * shape[1]
    turns = int(rng.integers(4)) if preset.turns else 0
    mirrored = preset.mirror and bool(rng.random() < 0.5)
    if preset.p_bend and rng.random() < preset.p_bend:
        knots = draw_knots(rng, shape, rng.uniform(*preset.bend_px))
    return View(shape, centre, zoom=zoom, angle=angle, turns=turns, mirrored=mirrored, knots=knots)


def _draw_middle(rng: np.random.Generator, p: float, scene: Scene) -> tuple[float, float] | None:
    """Draw an instance that the crop shall show, or none."""
    if not p or rng.random() >= p or len(scene.middles_yx) == 0:
        return None
    y, x = scene.middles_yx[rng.integers(len(scene.middles_yx))].tolist()
    return y, x


def _copy_nuclei(crop: Crop, view: View, scene: Scene, rng: np.random.Generator, *, n: int) -> Crop:
    """Copy nuclei from elsewhere in the image, zoomed and bent as much."""
    elsewhere = replace(view, centre_yx=place(rng, scene.labels.shape, view.shape, zoom=view.zoom, angle=view.angle))
    labels = scene.labels
    if scene.ignore is not None:  # an instance that must not count in part must not be copied
        labels = np.where(np.isin(labels, np.unique(labels[scene.ignore])), 0, labels).astype(labels.dtype)
    donor = cut(scene.image, elsewhere), cut(labels, elsewhere, nearest=True)
    image, ids = paste(crop.image, crop.labels, donor, rng, n=n, ignore=crop.ignore)
    return replace(crop, image=image, labels=ids)
