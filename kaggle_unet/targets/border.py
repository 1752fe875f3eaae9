"""Border pixels, and the one pixel of each instance that is kept free of them.

A pixel's window decides, not a watershed line: scikit-image stopped drawing lines between touching markers in 0.14, and
border recipes built on them have fused neighbours ever since.
"""

from typing import Literal

import numpy as np
import scipy.ndimage
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.kernels.border import SEEN, keep_within_radius, mark_near, survey_marks
from kaggle_unet.masks.labels import measure_labels, refuse_ids, to_labels
from kaggle_unet.targets.settings import BorderRule, BorderSettings
from kaggle_unet.types import Labels, Mask

# The 1st place's table (`create_masks.py` of selimsef/dsb2018_topcoders): radius by an instance's area, and on
# background by the largest area in the image.
_AREAS_PX = (300, 2000)
_RADII_PX = (1, 2, 3)
_LARGE_AREA_PX, _NEAR_LARGE_PX, _ELSEWHERE_PX = 4000, 6, 3


def border(labels: ArrayLike, *, rule: BorderRule = "touching", radius_px: int | Literal["by_size"] = 1) -> Mask:
    """Mark the border pixels of instances.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances 1…n, 0 is background.
    rule : {"touching", "contour"}
        ``"touching"``: the pixel's window holds two different instances; the pixel itself may be background.
        ``"contour"``: the pixel is in an instance, and its window holds anything else.
    radius_px : int or "by_size"
        The window has a side of 2·radius + 1 pixels. ``"by_size"`` is the table of DSB2018's 1st place: 6 or 3 on
        background, 1, 2 or 3 inside an instance of under 300, under 2,000 and more pixels.

    Returns
    -------
    bool array, shape (H, W)
        Border pixels.

    Notes
    -----
    Windows end at the image's edge, so an instance has no contour there. An image without instances has no border, one
    with a single instance no touching border.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[0, 1, 1, 2, 2, 0, 0]], dtype=np.int32)
    >>> border(labels).astype(int)
    array([[0, 0, 1, 1, 0, 0, 0]])
    >>> border(labels, rule="contour").astype(int)
    array([[0, 1, 1, 1, 1, 0, 0]])
    """
    return mark_border(to_labels(labels), BorderSettings(rule=rule, radius_px=radius_px))


def mark_border(labels: Labels, settings: BorderSettings) -> Mask:
    """Mark the border pixels of instances as `border` does; `labels` are as `to_labels` returns them."""
    marked, is_contour = np.zeros(labels.shape, dtype=np.uint8), settings.rule == "contour"
    if settings.radius_px != "by_size":
        _mark(labels, settings.radius_px, is_contour, 1, marked)
        return marked.view(np.bool_)
    labels, areas = measure_labels(labels)
    radii = _radii_by_size(areas)
    for radius in np.unique(radii)[::-1].tolist():  # the smallest radius that marks a pixel stays
        _mark(labels, radius, is_contour, radius, marked)
    keep_within_radius(labels, radii, marked)
    return marked.view(np.bool_)


def _mark(labels: Labels, radius_px: int, is_contour: bool, value: int, marked: NDArray[np.uint8]) -> None:
    rows = np.empty((2 * radius_px + 6, 2 * (labels.shape[1] + 2 * radius_px)), dtype=np.int32)
    if mark_near(labels, radius_px, is_contour, value, rows, marked) < 0:
        refuse_ids(labels)


def _radii_by_size(areas: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Look up every id's radius in the 1st place's table."""
    radii = np.array(_RADII_PX, dtype=np.uint8)[np.searchsorted(_AREAS_PX, areas, side="right")]
    radii[0] = _NEAR_LARGE_PX if areas[1:].max(initial=0) > _LARGE_AREA_PX else _ELSEWHERE_PX
    return radii


def keep_one_seed_pixel(labels: Labels, marked: Mask, highest: int) -> Mask:
    """Free the innermost pixel of every instance that a border covers entirely; ids go up to `highest`.

    The innermost pixel is the one farthest from anything outside the instance, or the first of several in raster
    order. Anything beyond the image's edge counts as part of the instance.
    """
    freed: Mask = np.array(marked, dtype=np.bool_, order="C")
    found = np.zeros(highest + 1, dtype=np.uint8)
    survey_marks(labels, freed.view(np.uint8), found)
    covered = np.flatnonzero(found[1:] == SEEN)
    boxes = scipy.ndimage.find_objects(labels) if covered.size else []
    for index in covered:
        y, x = (slice(max(0, side.start - 1), side.stop + 1) for side in boxes[index])
        own = labels[y, x] == index + 1
        depth_px = own if own.all() else scipy.ndimage.distance_transform_edt(own)
        freed[y, x].flat[np.argmax(depth_px)] = False
    return freed
