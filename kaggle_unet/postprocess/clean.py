"""Cleaning of labels: small holes filled, small instances dropped."""

import numpy as np
from numpy.typing import ArrayLike

from kaggle_unet.kernels.components import NOT_ONE, UNKNOWN, find_owners, paint_runs
from kaggle_unet.masks.labels import check_labels, find_components_of_mask, measure_labels
from kaggle_unet.types import Labels


def fill_holes(labels: ArrayLike, max_px: int, *, in_place: bool = False) -> Labels:
    """Fill background holes inside instances.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances, 0 is background.
    max_px : int
        Area of the largest hole that is filled, in pixels; 0 fills none.
    in_place : bool, default: False
        Whether `labels` itself may be changed, where it is int32 in C order.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances without those holes.

    Notes
    -----
    Background is connected through sides only, because instances are also connected through corners. A hole at the
    image's edge is left, as it may go on beyond it; so is a hole that touches two instances, corners included.

    Examples
    --------
    >>> import numpy as np
    >>> ring = np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]], dtype=np.int32)
    >>> int(fill_holes(ring, 1)[1, 1])
    3
    """
    checked, _ = check_labels(labels)
    filled = checked if in_place else np.array(checked)
    if max_px == 0:
        return filled
    runs, _, ids, n = find_components_of_mask(filled == 0, connectivity=4)
    y, start, end = runs.T
    is_large = np.bincount(ids, weights=end - start, minlength=n + 1) > max_px
    owners = np.where(is_large, NOT_ONE, UNKNOWN).astype(np.int32)
    owners[ids[(y == 0) | (y == filled.shape[0] - 1) | (start == 0) | (end == filled.shape[1])]] = NOT_ONE
    find_owners(runs, ids, filled, owners)
    paint_runs(runs, np.maximum(owners, 0)[ids], filled)
    return filled


def drop_small(labels: ArrayLike, min_px: int, *, in_place: bool = False) -> Labels:
    """Drop small instances and close the gaps in the ids.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances, 0 is background.
    min_px : int
        Instances with fewer pixels are dropped; all pieces of an instance count together.
    in_place : bool, default: False
        Whether `labels` itself may be changed, where it is int32 in C order.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n without gaps, in the order of their ids.

    Examples
    --------
    >>> import numpy as np
    >>> drop_small(np.array([[1, 0, 2, 2]], dtype=np.int32), 2)
    array([[0, 0, 1, 1]], dtype=int32)
    """
    checked, areas_px = measure_labels(labels)
    is_kept = areas_px >= max(min_px, 1)
    if is_kept[1:].all():
        return checked if in_place else checked.copy()
    is_kept[0] = False
    new_ids = np.where(is_kept, np.cumsum(is_kept), 0).astype(np.int32)
    return np.take(new_ids, checked, out=checked if in_place else np.empty_like(checked))
