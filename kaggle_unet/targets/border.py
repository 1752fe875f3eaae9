"""Border pixels and what they leave of each instance.

A pixel's window decides, not a watershed line: scikit-image stopped drawing lines between touching markers in 0.14, and
border recipes built on them have fused neighbours ever since.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.border import NOBODY, keep_reached, mark_near
from kaggle_unet.kernels.watershed import SEEN, find_innermost, survey_marks
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.targets.settings import BorderSettings
from kaggle_unet.types import Labels, Mask

# The 1st place's table (`create_masks.py` of selimsef/dsb2018_topcoders): radius by an instance's area, and on
# background by the largest area in the image.
_AREAS_PX = (300, 2000)
_RADII_PX = (1, 2, 3)
_LARGE_AREA_PX, _NEAR_LARGE_PX, _ELSEWHERE_PX = 4000, 6, 3


def border(labels: Labels, settings: BorderSettings) -> Mask:
    """Mark the border of instances.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    settings : BorderSettings
        Rule and radius.

    Returns
    -------
    bool array, shape (H, W)
        Border pixels. By the touching rule also background pixels between two instances; `split_interior` keeps those
        inside instances.

    Notes
    -----
    Windows are cut at the image's edge, where nothing is known: an instance has no contour there. An image without
    instances has no border, one with a single instance no touching border.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[0, 1, 1, 2, 2, 0, 0]], dtype=np.int32)
    >>> border(labels, BorderSettings(rule="touching")).astype(int)
    array([[0, 0, 1, 1, 0, 0, 0]])
    >>> border(labels, BorderSettings(rule="contour")).astype(int)
    array([[0, 1, 1, 1, 1, 0, 0]])
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    if settings.radius_px != "by_size":
        return _mark(labels, settings.rule, [settings.radius_px]).view(np.bool_)
    radii = _radii_by_size(labels)
    least = _mark(labels, settings.rule, np.unique(radii)[::-1].tolist())
    marked = np.empty(labels.shape, dtype=np.bool_)
    keep_reached(labels, radii, least, marked)
    return marked


def split_interior(labels: Labels, settings: BorderSettings) -> tuple[Mask, Mask]:
    """Split every instance into interior and border.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    settings : BorderSettings
        Rule and radius.

    Returns
    -------
    interior, border : bool array, shape (H, W)
        Disjoint; together they are ``labels > 0``. Every instance has interior.

    See Also
    --------
    spare_seeds : What saves the last pixel of an instance.

    Examples
    --------
    >>> import numpy as np
    >>> interior, border = split_interior(np.array([[1, 2, 2, 0]], dtype=np.int32), BorderSettings())
    >>> interior.astype(int), border.astype(int)
    (array([[1, 0, 1, 0]]), array([[0, 1, 0, 0]]))
    """
    inside = labels > 0
    marked = keep_one_seed_pixel(labels, border(labels, settings) & inside)
    return inside & ~marked, marked


def keep_one_seed_pixel(labels: Labels, marked: Mask) -> Mask:
    """Free the deepest pixel of every instance that a border covers whole.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    marked : bool array, shape (H, W)
        Border pixels.

    Returns
    -------
    bool array, shape (H, W)
        The border without those pixels.

    Notes
    -----
    The deepest pixel is the one farthest from anything that is not the instance, the first in raster order of several.
    What lies beyond the image's edge counts as the instance's own.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    spared: Mask = np.array(marked, dtype=np.bool_, order="C")
    found = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint8)
    survey_marks(labels, spared.view(np.uint8), found)
    is_lost = found == SEEN
    is_lost[0] = False
    if is_lost.any():
        places = np.empty(len(found), dtype=np.int64)
        find_innermost(labels, is_lost, np.empty_like(labels), np.zeros(len(found), dtype=np.int64), places)
        spared.ravel()[places[is_lost]] = False
    return spared


def _mark(labels: Labels, rule: str, radii_px: Sequence[int]) -> NDArray[np.uint8]:
    """Find the least radius that makes a pixel border, 0 if none does; a single radius counts as 1."""
    n_y, n_x = labels.shape
    marked = np.zeros((n_y, n_x), dtype=np.uint8)
    for radius in radii_px:  # from the largest to the least
        pair = np.repeat(np.array((0, -NOBODY), dtype=np.int32), n_x + 2 * radius)
        tails = np.empty((2 * radius + 2, pair.size), dtype=np.int32)
        tails[-1] = pair
        spread = np.empty((3, pair.size), dtype=np.int32)
        value = radius if len(radii_px) > 1 else 1
        mark_near(labels, radius, rule == "contour", value, pair, tails, spread, marked)
    return marked


def _radii_by_size(labels: Labels) -> NDArray[np.uint8]:
    """Look up every id's radius in the 1st place's table."""
    areas = areas_px(labels)
    radii = np.array(_RADII_PX, dtype=np.uint8)[np.searchsorted(_AREAS_PX, areas, side="right")]
    radii[0] = _NEAR_LARGE_PX if areas[1:].max(initial=0) > _LARGE_AREA_PX else _ELSEWHERE_PX
    return radii
