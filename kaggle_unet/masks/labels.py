"""Labels: an image of instance ids, made from masks or renumbered."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.kernels.appearance import renumber_by_appearance
from kaggle_unet.kernels.areas import count_areas, replace_ids
from kaggle_unet.kernels.components import paint_runs
from kaggle_unet.masks.components import Connectivity, find_components_of_mask, whole_rows
from kaggle_unet.masks.runs import Runs, merge_runs, runs_of_mask
from kaggle_unet.types import Labels, Mask


def check_labels(labels: NDArray[Any]) -> Labels:
    """Make sure that an array can be read as labels."""
    return _check(labels)[0]


def relabel(labels: NDArray[Any]) -> Labels:
    """Renumber the instances 1…n without gaps, in the order of their ids.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances, 0 is background.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances.

    Raises
    ------
    DataError
        If the array is not labels.

    Examples
    --------
    >>> import numpy as np
    >>> relabel(np.array([[0, 7, 3]]))
    array([[0, 2, 1]], dtype=int32)
    """
    checked, highest = _check(labels)
    if highest > checked.size:  # a table of all ids would be larger than the image
        ids = np.unique(checked[checked > 0])
        return np.where(checked > 0, np.searchsorted(ids, checked) + 1, 0).astype(np.int32)
    is_present = _count(checked, highest) > 0
    is_present[0] = False
    relabelled = np.empty_like(checked)
    replace_ids(checked.ravel(), np.cumsum(is_present, dtype=np.int32), relabelled.ravel())
    return relabelled


def relabel_by_appearance(labels: Labels) -> Labels:
    """Renumber the instances 1…n without gaps, in raster order of their first pixels.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background; ids not far above their number.

    Returns
    -------
    int32 array, shape (H, W)
        The same instances.

    Examples
    --------
    >>> import numpy as np
    >>> relabel_by_appearance(np.array([[0, 7, 3]], dtype=np.int32))
    array([[0, 1, 2]], dtype=int32)
    """
    ordered: Labels = np.array(labels, dtype=np.int32, order="C")
    new_ids = np.zeros(int(ordered.max(initial=0)) + 1, dtype=np.int32)
    renumber_by_appearance(whole_rows(ordered.shape), ordered, new_ids, 0)
    return ordered


def areas_px(labels: Labels) -> NDArray[np.int64]:
    """Count the pixels of every instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.

    Returns
    -------
    int64 array, shape (n + 1,)
        Pixels by id; entry 0 is the background, 0 for ids that are missing.

    Examples
    --------
    >>> import numpy as np
    >>> areas_px(np.array([[0, 2, 2]], dtype=np.int32))
    array([1, 0, 2])
    """
    return _count(*_check(labels))


def components(mask: Mask, *, connectivity: Connectivity = 8) -> Labels:
    """Label the connected components of a mask.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        Any mask; an empty one has no component.
    connectivity : {4, 8}, default: 8
        Whether pixels that share only a corner are connected.

    Returns
    -------
    int32 array, shape (H, W)
        Components 1…n, in raster order of their first pixels.

    Examples
    --------
    >>> import numpy as np
    >>> corner = np.eye(2, dtype=bool)
    >>> int(components(corner).max()), int(components(corner, connectivity=4).max())
    (1, 2)
    """
    found = find_components_of_mask(mask, connectivity=connectivity)
    labels = np.zeros(mask.shape, dtype=np.int32)
    paint_runs(found.runs, found.ids, labels)
    return labels


def paint_masks(masks: Iterable[Mask], shape: tuple[int, int]) -> tuple[Labels, int, int]:
    """Merge masks into labels; a pixel claimed by several goes to the smallest mask.

    Parameters
    ----------
    masks : iterable of bool array, shape (H, W)
        One mask per instance; taken one at a time, so a generator needs memory for one only.
    shape : tuple of int
        (H, W).

    Returns
    -------
    labels : int32 array, shape (H, W)
        Instances 1…n in the order of the masks, without gaps.
    n_contested : int
        Pixels claimed by more than one mask.
    n_empty : int
        Masks that had no pixel, or lost all of theirs to smaller ones; they have no id.

    Raises
    ------
    DataError
        If a mask has another shape.

    Notes
    -----
    Of two equally large masks the one wins that has the first pixel, in column-major order, that is not in both. So the
    order of different masks decides nothing but their ids. A mask in several pieces stays one instance.

    Examples
    --------
    >>> import numpy as np
    >>> large, small = np.array([[True, True, True, False]]), np.array([[False, False, True, True]])
    >>> paint_masks([large, small], (1, 4))
    (array([[1, 1, 2, 2]], dtype=int32), 1, 0)
    """
    instances = []
    for index, mask in enumerate(masks, start=1):
        if mask.shape != shape:
            raise DataError(f"mask {index} has shape {mask.shape}, but its image has {shape}")
        instances.append(runs_of_mask(mask))
    return paint_instances(instances, shape)


def paint_instances(instances: Sequence[Runs], shape: tuple[int, int]) -> tuple[Labels, int, int]:
    """Merge instances into labels, by the rules of `paint_masks`."""
    painted, n_contested = merge_runs(instances, shape)
    if not n_contested and all(map(len, instances)):
        return painted, 0, 0
    labels = relabel(painted)
    return labels, n_contested, len(instances) - int(labels.max(initial=0))


def _check(labels: NDArray[Any]) -> tuple[Labels, int]:
    """Make sure that an array can be read as labels, and find the highest id."""
    if labels.ndim != 2:
        raise DataError(f"labels have shape {labels.shape}, but (H, W) is wanted")
    if labels.dtype.kind not in "iub":
        raise DataError(f"labels are {labels.dtype}, but whole numbers are wanted: convert them with .astype(int)")
    if labels.dtype.kind == "b":
        return np.ascontiguousarray(labels, dtype=np.int32), 1
    lowest, highest = _range(labels)
    if lowest < 0 or highest > np.iinfo(np.int32).max:
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, but 0 (background) to 2³¹ − 1 are wanted"
        )
    return np.ascontiguousarray(labels, dtype=np.int32), highest


def _range(labels: NDArray[Any]) -> tuple[int, int]:
    """Find the lowest and the highest id, one of them at least if they are out of range; 0 and 0 without pixels."""
    if labels.dtype == np.int32:  # one pass: read without their sign, negative ids are above all others
        return 0, int(labels.view(np.uint32).max(initial=0))
    return int(labels.min(initial=0)), int(labels.max(initial=0))


def _count(labels: Labels, highest: int) -> NDArray[np.int64]:
    """Count the pixels of ids 0 to the highest."""
    areas = np.zeros(highest + 1, dtype=np.int64)
    count_areas(labels.ravel(), areas)
    return areas
