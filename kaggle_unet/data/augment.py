"""Augmentation: many crops of one sample, drawn according to a preset.

Geometry comes first, copied nuclei second, intensity last, all drawn from one seed per crop. Planes and weights are
made from the augmented labels, so that a border keeps the codec's width at any zoom, and copied nuclei have borders.

`first_place` is the recipe of the 1st place of DSB2018 [1]_ [2]_, whose authors say that channel shuffle and copied
nuclei helped most. What each part is for:

- quarter turns, mirror: a slide has no up and no left.
- zoom and rotation (0.7 of all samples, ±45°): the areas of nuclei of one type differ 26-fold between images.
- elastic deformation (0.6): one smooth distortion in place of their five (grid, optical, elastic, perspective, affine).
- no colours, shuffled channels (0.25, 0.2), hue and saturation (0.5): form counts, not the stain.
- inversion within the image's own range (0.2): fluorescence and brightfield become one task.
- CLAHE, sharpening or embossing (0.35); mean, median or motion blur (0.4): microscopes differ in focus.
- contrast and brightness (0.4), noise (0.5): cameras differ. Noise is relative to the image's own range (the original's
  absolute noise overwhelmed dark images).
- copied nuclei (0.25, one to five of them): more touching neighbours, which is what border planes are learnt from.

`salt_first_place` is the geometry of the 1st place of TGS [3]_: left and right exchanged, never up and down; a zoom of
0.4 to 1.6 and a shift of a sixth in 0.7 of all samples, mirrored beyond the edges; little brightness and contrast.

References
----------
.. [1] https://github.com/selimsef/dsb2018_topcoders, `albu/src/augmentations/transforms.py`, `victor/transforms.py`
.. [2] https://www.kaggle.com/c/data-science-bowl-2018/discussion/54741
.. [3] https://github.com/ybabakhin/kaggle_salt_bes_phalanx, `bes/`
"""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from kaggle_unet.data.copy_paste import copy_paste
from kaggle_unet.data.inputs import IntensityRange, find_intensity_range
from kaggle_unet.data.intensity import SAME_LEVELS, UNCHANGED, IntensityPreset, Levels, apply_levels, filter_image
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.data.spatial import SpatialTransform, cut, draw_knots, place
from kaggle_unet.errors import DataError
from kaggle_unet.types import IGNORED_CLASS, Image, Labels, Mask, Sample

Range = tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """Probabilities and ranges of an augmentation."""

    turns: bool = False
    mirror: bool = False
    p_warp: float = 0.0
    zoom: Range | None = None
    max_degrees: float = 0.0
    max_shift: float = 0.0
    p_bend: float = 0.0
    bend_px: Range = (0.0, 0.0)
    p_paste: float = 0.0
    max_pasted: int = 0
    intensity: IntensityPreset = UNCHANGED


PRESETS = {
    "none": Preset(),
    "light": Preset(
        turns=True, mirror=True, intensity=IntensityPreset(p_levels=0.5, contrast=(0.8, 1.2), brightness=(-0.1, 0.1))
    ),
    "nuclei": Preset(
        turns=True, mirror=True, p_warp=0.5, max_degrees=45,
        intensity=IntensityPreset(
            p_levels=0.5, contrast=(0.7, 1.3), brightness=(-0.15, 0.15), p_gamma=0.5, gamma=(0.6, 1.6),
            p_noise=0.2, noise=(0.01, 0.1), p_blur=0.2, p_hue=0.2, p_shuffle=0.2, p_gray=0.2,
        ),
    ),
    # A tile has an up and a down. A zoom of 1.25 shows 80 % of the tile's side, from anywhere in it.
    "salt": Preset(
        mirror=True, p_warp=0.4, zoom=(1.0, 1.25),
        intensity=IntensityPreset(p_levels=0.3, contrast=(0.9, 1.1), brightness=(-0.1, 0.1)),
    ),
    "first_place": Preset(
        turns=True, mirror=True, p_warp=0.7, max_degrees=45, p_bend=0.6, bend_px=(1.0, 5.0), p_paste=0.25, max_pasted=5,
        intensity=IntensityPreset(
            stretches=True, p_local=0.35, p_hue=0.5, p_shuffle=0.2, p_gray=0.25, p_soften=0.4, p_invert=0.2,
            p_levels=0.4, contrast=(0.8, 1.2), brightness=(-0.2, 0.2), p_noise=0.5, noise=(0.01, 0.06),
        ),
    ),
    "salt_first_place": Preset(
        mirror=True, p_warp=0.7, zoom=(0.4, 1.6), max_shift=0.1625,
        intensity=IntensityPreset(p_levels=0.3, contrast=(0.8, 1.2), brightness=(-0.2, 0.2)),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class CachedSample:
    """A sample as training keeps it in memory, with the values that all its crops need."""

    id: str
    image: Image
    labels: NDArray[Any]
    ignore: Mask | None
    depth: float | None
    intensity_range: IntensityRange
    centres_yx: NDArray[np.float32]

    @classmethod
    def of(cls, sample: Sample, inputs: InputSettings, *, semantic: bool = False) -> "CachedSample":
        """Cache a sample, with labels in 16 bits if their ids fit."""
        labels = labels_of(sample)
        boxes = [box for box in scipy.ndimage.find_objects(labels, IGNORED_CLASS - 1 if semantic else 0) if box]
        centres = [[(side.start + side.stop) / 2 for side in box] for box in boxes]
        return cls(
            id=sample.id,
            image=sample.image,
            labels=labels.astype(np.uint16) if labels.max(initial=0) < 1 << 16 else labels,
            ignore=sample.ignore,
            depth=sample.numbers.get("depth"),
            intensity_range=find_intensity_range(sample.image, inputs),
            centres_yx=np.array(centres, np.float32).reshape(-1, 2),
        )


def labels_of(sample: Sample) -> Labels:
    """Return a sample's labels, or raise `DataError` if it has none."""
    if sample.labels is None:
        raise DataError(f"sample {sample.id!r} has no labels; training and validation need labels: leave it out")
    return sample.labels


@dataclass(frozen=True, eq=False)
class Crop:
    """One crop of a sample, and the change of levels still to be applied."""

    image: Image
    labels: NDArray[Any]
    ignore: Mask | None
    intensity_range: IntensityRange
    levels: Levels = SAME_LEVELS


def augment(cached: CachedSample, settings: AugmentationSettings, *, seed: int, leave_levels: bool = False) -> Crop:
    """Draw one crop of a sample.

    An instance cut by the crop's edge keeps its id, even in several parts. A crop larger than the image shows it
    mirrored, labels included. With `leave_levels`, the change of levels and the noise are drawn but not yet applied.
    """
    assert cached.image.shape[:2] == cached.labels.shape
    preset = PRESETS[settings.preset]
    rng = np.random.default_rng(seed)
    transform = draw_transform(rng, settings, cached)
    image, labels = cut(cached.image, transform), cut(cached.labels, transform, nearest=True)
    ignore = cached.ignore
    if ignore is not None:
        ignore = cut(ignore.view(np.uint8), transform, nearest=True).view(np.bool_)
    if preset.p_paste and rng.random() < preset.p_paste:
        n = int(rng.integers(1, preset.max_pasted + 1))
        image, labels = copy_paste(image, labels, _cut_donor(cached, transform, rng), rng, n=n, ignore=ignore)
    image, intensity_range, levels = filter_image(image, preset.intensity, rng, cached.intensity_range)
    if not leave_levels:
        image, levels = apply_levels(image, levels, rng, intensity_range), SAME_LEVELS
    return Crop(image, labels, ignore, intensity_range, levels)


def stable_seed(*numbers: int) -> int:
    """Mix numbers into one seed, the same in every process and on every machine.

    >>> stable_seed(1, 23) == stable_seed(12, 3)
    False
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def draw_transform(rng: np.random.Generator, settings: AugmentationSettings, cached: CachedSample) -> SpatialTransform:
    """Draw where a crop lies and how it is zoomed, rotated, bent, turned and mirrored."""
    preset, shape = PRESETS[settings.preset], cached.labels.shape
    side = settings.crop_px
    crop_shape = (shape[0], shape[1]) if side is None else (side, side)
    zoom, angle, focus, knots = 1.0, 0.0, None, None
    is_warped = rng.random() < preset.p_warp
    if is_warped:
        low, high = preset.zoom or settings.scale
        zoom = math.exp(rng.uniform(math.log(low), math.log(high)))
        angle = math.radians(rng.uniform(-preset.max_degrees, preset.max_degrees))
    p = settings.crop_finds_objects
    if p and rng.random() < p and len(cached.centres_yx):
        y, x = cached.centres_yx[rng.integers(len(cached.centres_yx))].tolist()
        focus = y, x
    centre = place(rng, (shape[0], shape[1]), crop_shape, zoom=zoom, angle=angle, focus_yx=focus)
    if is_warped and preset.max_shift:
        dy, dx = rng.uniform(-preset.max_shift, preset.max_shift, 2)
        centre = centre[0] + float(dy) * crop_shape[0], centre[1] + float(dx) * crop_shape[1]
    turns = int(rng.integers(4)) if preset.turns else 0
    mirrored = preset.mirror and bool(rng.random() < 0.5)
    if (elastic := settings.elastic) is not None:
        if rng.random() < elastic.p:
            knots = draw_knots(rng, crop_shape, elastic.sigma_px, elastic.grid)
    elif preset.p_bend and rng.random() < preset.p_bend:
        knots = draw_knots(rng, crop_shape, rng.uniform(*preset.bend_px))
    return SpatialTransform(crop_shape, centre, zoom=zoom, angle=angle, turns=turns, mirrored=mirrored, knots=knots)


def _cut_donor(
    cached: CachedSample, transform: SpatialTransform, rng: np.random.Generator
) -> tuple[Image, NDArray[Any]]:
    """Cut another crop to copy nuclei from, elsewhere in the image but zoomed and bent the same."""
    centre = place(rng, cached.labels.shape, transform.shape, zoom=transform.zoom, angle=transform.angle)
    elsewhere = replace(transform, centre_yx=centre)
    labels = cached.labels
    if cached.ignore is not None:  # an instance that must not count in part must not be copied
        labels = np.where(np.isin(labels, np.unique(labels[cached.ignore])), 0, labels).astype(labels.dtype)
    return cut(cached.image, elsewhere), cut(labels, elsewhere, nearest=True)
