"""Planes to instances: seeds grown by watershed, the decoding that all codecs share."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.components import paint_runs
from kaggle_unet.kernels.labels import DROPPED, OUTSIDE, classify, renumber_in_raster_order
from kaggle_unet.kernels.watershed import END, N_LEVELS, assign_uncontested, flood, link_contested
from kaggle_unet.masks.labels import blank_classes, find_components
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Mask

Plane = NDArray[np.float32]


def decode_instances(
    inside: Plane | None, core: Plane, border: Plane | None, settings: DecodeSettings, *, min_area_px: int = 0
) -> Labels:
    """Turn probabilities into instances 1…n, in raster order of their first pixels.

    `inside` is the probability of being inside any instance; None stands for min(core + border, 1), as two sigmoids may
    add up to more. `core` is the plane that seeds are taken from; `border` is None if the codec has no such plane.

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
    labels: Labels = np.zeros(core.shape, dtype=np.int32)
    paint_runs(mask.runs, instances, labels)
    if n_contested_px:
        paint_runs(seeds.runs, seeds.ids, labels)
        links, nodes = np.full(len(mask.runs) + mask.n + 1, END, dtype=np.int32), empty_queues(n_contested_px)
        link_contested(mask.ids, n_seeds, links)
        flood(levels, classes, mask.runs, links, nodes, areas, labels)
    new_ids = np.where(areas < min_area_px, DROPPED, 0).astype(np.int32)
    renumber_in_raster_order(mask.runs, labels, new_ids)
    return labels


def empty_queues(n_px: int) -> NDArray[np.int32]:
    """Make empty queues for `flood`, with room for `n_px` pixels."""
    nodes = np.empty((N_LEVELS + n_px, 4), dtype=np.int32)
    nodes[:N_LEVELS] = END
    nodes[:N_LEVELS, 0] = np.arange(N_LEVELS)
    return nodes


def _classify(
    inside: Plane | None, core: Plane, border: Plane | None, settings: DecodeSettings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Compute every pixel's class (outside, mask or seed) and elevation, both with a frame of one pixel."""
    above, core_above = np.float32(settings.mask_threshold), np.float32(settings.seed_threshold)
    border_at_most = np.float32(np.inf if border is None else settings.border_threshold)
    if inside is None and above >= 1:
        above = np.float32(np.inf)  # min(core + border, 1) is never above 1, and the kernel leaves the minimum out
    # Kernels are compiled for one precision and order; half precision would also round the sum of two planes.
    planes = [core if plane is None else plane for plane in (inside, core, border)]
    whole, centre, edge = (
        plane if plane.dtype == np.float32 and plane.flags.carray else np.array(plane, np.float32, order="C")
        for plane in planes
    )
    if settings.expected_iou and core.size:
        all_inside = np.minimum(centre + edge, np.float32(1)) if inside is None else whole
        above = _level_of_best_iou(all_inside, least=settings.mask_threshold)
    classes = blank_classes(core.shape)
    levels = np.empty_like(classes)
    thresholds = above, core_above, border_at_most
    factors = np.float32(inside is None), np.float32(border is not None)
    classify(whole, centre, edge, thresholds, *factors, classes[1:-1], levels[1:-1])
    return classes, levels


def _level_of_best_iou(inside: Plane, least: float) -> np.float32:
    """Return the level above which the mask has the highest expected IoU, or infinity if that is below `least`.

    Of all masks of k pixels, that of the k most probable ones has the highest expected IoU, about Σ p over it divided
    by k + Σ p over the rest (RankSEG, https://arxiv.org/abs/2510.15362).
    """
    ordered = np.sort(inside, axis=None)[::-1]
    sums = ordered.cumsum(dtype=np.float64)
    expected = sums / (np.arange(1, len(sums) + 1) + sums[-1] - sums)
    best = int(expected.argmax())
    return np.nextafter(ordered[best], np.float32(0)) if expected[best] >= least else np.float32(np.inf)
