"""Planes to instances: seeds grown by watershed, the decoding that all codecs share."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.components import paint_runs
from kaggle_unet.kernels.labels import DROPPED, HIGHEST, OUTSIDE, classify, renumber_in_raster_order
from kaggle_unet.kernels.watershed import END, N_LEVELS, assign_uncontested, flood
from kaggle_unet.masks.labels import Components, blank_classes, find_components
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Mask

Plane = NDArray[np.float32]


def decode_instances(
    inside: Plane | None, core: Plane, border: Plane | None, settings: DecodeSettings, *, min_area_px: int = 0
) -> Labels:
    """Turn probabilities into instances 1…n, in raster order of their first pixels.

    `inside` is the probability of being inside any instance; None stands for min(core + border, 1), as two sigmoids may
    add up to more. `core` is the plane that seeds are taken from, `border` None if the codec has no such plane.

    Seeds grow over an elevation of (1 − core + border) / 2, so that basins meet on the ridge of the border plane. The
    probability of being inside would not do: it is near 1 on both sides of a border, and noise would draw the line.
    Hard planes of 0 and 1 are flat, and flat parts are shared evenly. Nothing is random: the same planes give the same
    labels. Components of the mask, connected through sides and corners, have no influence on each other. One that holds
    a single seed is that instance, whatever the elevation.
    """
    classes, levels = _classify(inside, core, border, settings)
    if settings.single_object:
        inside_any: Mask = classes[1:-1, : core.shape[1]] != OUTSIDE
        return np.asarray(inside_any & (np.count_nonzero(inside_any) >= min_area_px), dtype=np.int32)
    mask, seeds = find_components(classes)
    owners, n_seeds = np.zeros(seeds.n + 1, dtype=np.int32), np.zeros(mask.n + 1, dtype=np.int32)
    instances, areas = np.empty(len(mask.runs), dtype=np.int32), np.zeros(seeds.n + mask.n + 1, dtype=np.int64)
    rules = settings.min_seed_px, settings.keep_seedless
    n_contested_px = assign_uncontested(
        mask.runs, mask.ids, seeds.runs, seeds.ids, *rules, owners, n_seeds, instances, areas, classes[1:-1]
    )
    labels = np.zeros(core.shape, dtype=np.int32)
    paint_runs(mask.runs, instances, labels)
    if n_contested_px:
        paint_runs(seeds.runs, seeds.ids, labels)
        _flood((classes, levels), mask, n_seeds, n_contested_px, areas, labels)
    new_ids = np.where(areas < min_area_px, DROPPED, 0).astype(np.int32)
    renumber_in_raster_order(mask.runs, labels, new_ids, 0)
    return labels


def find_mask(inside: Plane | None, core: Plane, border: Plane | None, settings: DecodeSettings) -> Mask:
    """Mark the pixels of all instances, before any instance is dropped."""
    classes, _ = _classify(inside, core, border, settings)
    mask: Mask = classes[1:-1, : core.shape[1]] != OUTSIDE
    return mask


def grow_seeds(seeds: Labels, elevation: Plane, mask: Mask) -> Labels:
    """Grow seeds by watershed.

    Parameters
    ----------
    seeds : int32 array, shape (H, W)
        Instances 1…n to start from, inside `mask`.
    elevation : float32 array, shape (H, W)
        0 to 1; low pixels are flooded first. Values are rounded to 1/255.
    mask : bool array, shape (H, W)
        Where the seeds may grow.

    Returns
    -------
    int32 array, shape (H, W)
        The seeds, grown over all of the mask that they reach through their eight neighbours; no lines between them.

    Notes
    -----
    A pixel that two basins reach at the same elevation and time goes to the basin that was flooded there first; at the
    start that is the seed first in raster order.

    Where no two pixels are of the same elevation, these are the labels of ``skimage.segmentation.watershed(...,
    connectivity=2)``. At ties scikit-image leaves the order of the seeds to its heap, so single pixels on flat parts
    differ.

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
    n_x = mask.shape[1]
    labels = np.multiply(seeds, mask, dtype=np.int32, order="C")
    classes, levels = blank_classes(mask.shape), blank_classes(mask.shape)
    np.add(mask, labels > 0, out=classes[1:-1, :n_x], dtype=np.uint8)
    scaled = np.multiply(elevation, np.float32(HIGHEST), dtype=np.float32)
    levels[1:-1, :n_x] = np.clip(np.rint(scaled, out=scaled), 0, HIGHEST, out=scaled)
    inside, _ = find_components(classes)
    n_seeds = np.full(inside.n + 1, 2, dtype=np.int32)  # so that every component is flooded
    areas = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    _flood((classes, levels), inside, n_seeds, int(np.count_nonzero(mask)), areas, labels)
    return labels


def _classify(
    inside: Plane | None, core: Plane, border: Plane | None, settings: DecodeSettings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Compute every pixel's class (outside, mask or seed) and elevation, both with a frame of one pixel."""
    above, core_above = np.float32(settings.mask_threshold), np.float32(settings.seed_threshold)
    border_at_most = np.float32(np.inf if border is None else settings.border_threshold)
    if inside is None and above >= 1:
        above = np.float32(np.inf)  # min(core + border, 1) is never above 1, and the kernel leaves the minimum out
    # Kernels want one precision and one memory order; half precision would also round the sum of two planes.
    whole, centre, edge = (
        np.ascontiguousarray(core if plane is None else plane, dtype=np.float32) for plane in (inside, core, border)
    )
    classes = blank_classes(core.shape)
    levels = np.empty_like(classes)
    thresholds = above, core_above, border_at_most
    factors = np.float32(inside is None), np.float32(border is not None)
    classify(whole, centre, edge, thresholds, *factors, classes[1:-1], levels[1:-1])
    return classes, levels


def _flood(
    classes_and_levels: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    mask: Components,
    n_seeds: NDArray[np.int32],
    n_px: int,
    areas: NDArray[np.int64],
    labels: Labels,
) -> None:
    """Grow the seeds that are painted in the labels over components of the mask that have several."""
    classes, levels = classes_and_levels
    next_runs, heads = np.empty(len(mask.runs), dtype=np.int32), np.full(mask.n + 1, END, dtype=np.int32)
    nodes = np.empty((N_LEVELS + n_px, 4), dtype=np.int32)
    nodes[:N_LEVELS] = END
    tails = np.arange(N_LEVELS, dtype=np.int32)
    widths, elevation = (labels.shape[1], classes.shape[1]), (levels.reshape(-1), classes.reshape(-1))
    queues = next_runs, heads, tails, nodes
    flood(*widths, *elevation, mask.runs, mask.ids, n_seeds, *queues, areas, labels.reshape(-1))
