"""From planes to the labels that are submitted, in one call.

What a config says about cleaning labels.

Holes filled, crumbs dropped.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from kaggle_unet.kernels.components import NOT_ONE, UNKNOWN, find_owners, paint_runs
from kaggle_unet.kernels.labels import replace_ids
from kaggle_unet.masks.labels import areas_px, find_components_of_mask
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Planes, Settings


class PostprocessSettings(Settings):
    """What is done to decoded labels, in this order.

    Attributes
    ----------
    fill_holes_px : int
        Background holes inside one instance of at most this many pixels join it; 0 fills none.
    min_area_px : int
        Instances with fewer pixels are dropped.
    constant_is_empty : bool
        An image whose pixels are all equal has no instance: the black tiles of TGS.
    full_is_empty : bool
        An image that is nothing but instances has none: tiles inside the salt are labelled empty in TGS.
    """

    fill_holes_px: Annotated[int, Field(ge=0)] = 0
    min_area_px: Annotated[int, Field(ge=0)] = 0
    constant_is_empty: bool = False
    full_is_empty: bool = False


def clean(labels: Labels, settings: PostprocessSettings, *, in_place: bool = False) -> Labels:
    """Fill small holes inside instances, then drop small instances.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    settings : PostprocessSettings
        The limits.
    in_place : bool, default: False
        Whether `labels` may be changed, which spares copies; it must be int32 in C order then.

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
    filled = fill_holes(labels, settings.fill_holes_px, in_place=in_place)
    return drop_small(filled, settings.min_area_px, in_place=in_place or filled is not labels)


def fill_holes(labels: Labels, max_px: int, *, in_place: bool = False) -> Labels:
    """Give background holes inside one instance to that instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    max_px : int
        The largest hole that is filled; 0 fills none.
    in_place : bool, default: False
        Whether `labels` itself is changed; it must be int32 in C order then.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances, without those holes; the same array where none is asked for.

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
    """Drop instances of fewer pixels and close the gaps in the ids."""
    is_kept = areas_px(labels) >= max(min_px, 1)
    if is_kept[1:].all():
        return labels
    is_kept[0] = False
    kept = labels if in_place else np.array(labels, dtype=np.int32, order="C")
    replace_ids(kept.ravel(), np.where(is_kept, np.cumsum(is_kept), 0).astype(np.int32), kept.ravel())
    return kept


def labels_from_planes(
    codec: Codec, planes: Planes, decode: DecodeSettings, postprocess: PostprocessSettings
) -> Labels:
    """Decode planes and clean the labels."""
    if postprocess.fill_holes_px == 0:  # areas are known as soon as decoding ends
        return codec.decode(planes, decode, min_area_px=postprocess.min_area_px)
    return clean(codec.decode(planes, decode), postprocess, in_place=True)
