"""Planes to instances: seeds grown by watershed, the way back that all codecs share."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.watershed import NOBODY, flood
from kaggle_unet.masks.labels import areas_px, components, relabel_by_appearance
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Mask

Plane = NDArray[np.float32]


def decode_instances(*, inside: Plane, core: Plane, border: Plane | None, settings: DecodeSettings) -> Labels:
    """Turn probabilities into instances.

    Parameters
    ----------
    inside : float32 array, shape (H, W)
        Probability of being inside any instance; where it is above `mask_threshold`, some instance is.
    core : float32 array, shape (H, W)
        Probability of the plane that seeds are taken from.
    border : float32 array, shape (H, W), or None
        Probability of being border, if the codec has such a plane.
    settings : DecodeSettings
        Thresholds and rules.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n, in raster order of their first pixels.

    Notes
    -----
    The ground is flooded in order of (1 − core + border) / 2, so that basins meet on the ridge of the border plane. The
    probability of being inside would not do: it is near 1 on both sides of a border, and noise would draw the line.
    Hard planes of 0 and 1 are flat ground, shared evenly. Nothing is random: the same planes give the same labels.

    An image without seeds or mask gives no instance.
    """
    mask = inside > settings.mask_threshold
    if settings.single_object:
        return mask.astype(np.int32)
    seeds = core > settings.seed_threshold
    ground = np.float32(1) - core
    if border is not None:
        seeds &= border <= settings.border_threshold
        ground = (ground + border) / np.float32(2)
    labels = grow_seeds(_label_seeds(seeds & mask, settings.min_seed_px), ground, mask)
    if settings.keep_seedless:
        seedless = components(mask & (labels == 0))
        labels = np.where(seedless > 0, seedless + labels.max(initial=0), labels)
    return relabel_by_appearance(labels)


def grow_seeds(seeds: Labels, ground: Plane, mask: Mask) -> Labels:
    """Flood a landscape from seeds.

    Parameters
    ----------
    seeds : int32 array, shape (H, W)
        Instances 1…n to start from, inside `mask`.
    ground : float32 array, shape (H, W)
        Height, 0 to 1; low ground is flooded first. Heights are rounded to 1/255.
    mask : bool array, shape (H, W)
        Where the flood may go.

    Returns
    -------
    int32 array, shape (H, W)
        The seeds, grown over all of the mask that they reach through their eight neighbours; no lines between them.

    Notes
    -----
    Where two basins reach a pixel at the same height and time, the one takes it that was flooded there first; at the
    start that is the seed first in raster order.

    Examples
    --------
    >>> import numpy as np
    >>> seeds = np.array([[1, 0, 0, 0, 0, 2]], dtype=np.int32)
    >>> grow_seeds(seeds, np.zeros((1, 6), dtype=np.float32), np.ones((1, 6), dtype=bool))
    array([[1, 1, 1, 2, 2, 2]], dtype=int32)
    >>> ridge = np.array([[0, 1, 0, 0, 0, 0]], dtype=np.float32)
    >>> grow_seeds(seeds, ridge, np.ones((1, 6), dtype=bool))
    array([[1, 1, 2, 2, 2, 2]], dtype=int32)
    """
    levels = np.ascontiguousarray(np.rint(np.clip(ground, 0, 1) * 255), dtype=np.uint8)
    labels = np.ascontiguousarray(np.where(mask, seeds, NOBODY), dtype=np.int32)
    heads, tails = np.full(256, NOBODY, dtype=np.int64), np.empty(256, dtype=np.int64)
    flood(levels, labels, heads, tails, np.empty(labels.size, dtype=np.int64))
    return np.maximum(labels, 0)


def _label_seeds(seeds: Mask, min_px: int) -> Labels:
    """Label the components of the seeds and drop those that are too small; ids may be missing."""
    labels = components(seeds)
    is_small = areas_px(labels) < min_px
    return np.where(is_small[labels], 0, labels)
