"""Cleaning of labels: small holes filled, small instances dropped."""

import numpy as np

from kaggle_unet.kernels.components import NOT_ONE, UNKNOWN, find_owners, paint_runs
from kaggle_unet.kernels.labels import replace_ids
from kaggle_unet.masks.labels import areas_px, find_components_of_mask
from kaggle_unet.types import Labels


def fill_holes(labels: Labels, max_px: int, *, in_place: bool = False) -> Labels:
    """Fill background holes inside instances.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    max_px : int
        Area of the largest hole that is filled, in pixels; 0 fills none.
    in_place : bool, default: False
        Whether `labels` itself may be changed; it must be int32 in C order then.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances without those holes; `labels` itself if `max_px` is 0.

    Notes
    -----
    Background is connected through sides only, as instances are through corners too. A hole at the image's edge is
    left, because it may go on beyond it; so is a hole that touches two instances, corners included.

    Examples
    --------
    >>> import numpy as np
    >>> ring = np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]], dtype=np.int32)
    >>> int(fill_holes(ring, 1)[1, 1])
    3
    """
    if max_px == 0:
        return labels
    filled: Labels = labels if in_place else np.array(labels, dtype=np.int32, order="C")
    runs, _, ids, n = find_components_of_mask(filled == 0, connectivity=4)
    y, start, end = runs.T
    is_large = np.bincount(ids, weights=end - start, minlength=n + 1) > max_px
    owners = np.where(is_large, NOT_ONE, UNKNOWN).astype(np.int32)
    owners[ids[(y == 0) | (y == labels.shape[0] - 1) | (start == 0) | (end == labels.shape[1])]] = NOT_ONE
    find_owners(runs, ids, filled, owners)
    paint_runs(runs, np.maximum(owners, 0)[ids], filled)
    return filled


def drop_small(labels: Labels, min_px: int, *, in_place: bool = False) -> Labels:
    """Drop small instances and close the gaps in the ids.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    min_px : int
        Instances with fewer pixels are dropped; all pieces of an instance count together.
    in_place : bool, default: False
        Whether `labels` itself may be changed; it must be int32 in C order then.

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
    is_kept = areas_px(labels) >= max(min_px, 1)
    if is_kept[1:].all():
        return labels
    is_kept[0] = False
    kept = labels if in_place else np.array(labels, dtype=np.int32, order="C")
    replace_ids(kept.ravel(), np.where(is_kept, np.cumsum(is_kept), 0).astype(np.int32), kept.ravel())
    return kept
