"""Holes filled, crumbs dropped."""

import numpy as np

from kaggle_unet.masks.labels import areas_px, components, relabel
from kaggle_unet.masks.window import NOBODY, scan_window
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.types import Labels


def clean(labels: Labels, settings: PostprocessSettings) -> Labels:
    """Fill small holes inside instances, then drop small instances.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    settings : PostprocessSettings
        The limits.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n without gaps, in the order of their ids.

    Notes
    -----
    An instance counts as a whole, with all its pieces and filled holes.

    Examples
    --------
    >>> import numpy as np
    >>> clean(np.array([[1, 0, 2, 2]], dtype=np.int32), PostprocessSettings(min_area_px=2))
    array([[0, 0, 1, 1]], dtype=int32)
    """
    return drop_small(fill_holes(labels, settings.fill_holes_px), settings.min_area_px)


def fill_holes(labels: Labels, max_px: int) -> Labels:
    """Give background holes inside one instance to that instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    max_px : int
        The largest hole that is filled; 0 fills none.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances, without those holes.

    Notes
    -----
    Background is connected through sides, as instances are through corners too. A hole at the image's edge may go on
    beyond it and is left; so is one with two instances round it, corners included.

    Examples
    --------
    >>> import numpy as np
    >>> ring = np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]], dtype=np.int32)
    >>> int(fill_holes(ring, 1)[1, 1])
    3
    """
    if max_px == 0 or not labels.any():
        return labels
    holes = components(labels == 0, connectivity=4)
    is_hole = areas_px(holes) <= max_px
    is_hole[0] = False
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        is_hole[edge] = False
    highest, lowest = scan_window(labels, 1, with_background=False)
    owners, others = np.zeros(len(is_hole), dtype=np.int32), np.full(len(is_hole), NOBODY, dtype=np.int32)
    np.maximum.at(owners, holes.ravel(), highest.ravel())
    np.minimum.at(others, holes.ravel(), lowest.ravel())
    is_hole &= owners == others
    return np.where(is_hole[holes], owners[holes], labels)


def drop_small(labels: Labels, min_px: int) -> Labels:
    """Drop instances of fewer pixels and close the gaps in the ids.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    min_px : int
        The smallest instance that stays.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n.
    """
    is_small = areas_px(labels) < min_px
    return relabel(np.where(is_small[labels], 0, labels))
