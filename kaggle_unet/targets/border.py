"""Border pixels and what they leave of each instance.

A pixel's window decides, not a watershed line: scikit-image stopped drawing lines between touching markers in 0.14, and
border recipes built on them have fused neighbours ever since.
"""

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from kaggle_unet.masks.labels import areas_px
from kaggle_unet.masks.window import scan_window
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
    if settings.radius_px != "by_size":
        return _mark(labels, settings.rule, settings.radius_px)
    radii = _radii_by_size(labels)
    marked = np.zeros(labels.shape, dtype=np.bool_)
    for radius in np.unique(radii).tolist():
        marked |= _mark(labels, settings.rule, radius) & (radii == radius)
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
    marked = spare_seeds(labels, border(labels, settings) & inside)
    return inside & ~marked, marked


def spare_seeds(labels: Labels, marked: Mask) -> Mask:
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
    areas = areas_px(labels)
    free = np.bincount(labels[~marked], minlength=len(areas))
    spared = marked.copy()
    lost = [label for label in np.flatnonzero((areas > 0) & (free == 0)).tolist() if label > 0]
    boxes = scipy.ndimage.find_objects(labels) if lost else []
    for label in lost:
        spared[_deepest_pixel(labels, label, boxes[label - 1])] = False
    return spared


def _mark(labels: Labels, rule: str, radius_px: int) -> Mask:
    """Mark border pixels by one radius for all."""
    is_contour = rule == "contour"
    highest, lowest = scan_window(labels, radius_px, with_background=is_contour)
    differs = lowest < highest
    return differs & (labels > 0) if is_contour else differs


def _radii_by_size(labels: Labels) -> NDArray[np.int64]:
    """Look up every pixel's radius in the 1st place's table."""
    areas = areas_px(labels)
    radii = np.array(_RADII_PX)[np.searchsorted(_AREAS_PX, areas, side="right")]
    radii[0] = _NEAR_LARGE_PX if areas[1:].max(initial=0) > _LARGE_AREA_PX else _ELSEWHERE_PX
    return radii[labels]


def _deepest_pixel(labels: Labels, label: int, box: tuple[slice, slice]) -> tuple[int, int]:
    """Find the pixel of an instance that is farthest from anything else."""
    # One pixel more on each side shows the nearest foreign pixel of every pixel in the box.
    top, left = (max(side.start - 1, 0) for side in box)
    crop = labels[top : box[0].stop + 1, left : box[1].stop + 1]
    depths = scipy.ndimage.distance_transform_edt(crop == label)
    y, x = np.unravel_index(int(np.argmax(depths)), crop.shape)
    return top + int(y), left + int(x)
