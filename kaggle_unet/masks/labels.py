"""Labels: check, renumber and measure them, and find connected components.

Components are found among runs of pixels along the rows; masks, holes and decoding start from these.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.kernels.components import count_changes, count_parts, paint_runs
from kaggle_unet.kernels.components import find_components as _find_components
from kaggle_unet.kernels.labels import count_areas, renumber_in_raster_order, replace_ids
from kaggle_unet.types import Labels, Mask

Connectivity = Literal[4, 8]


class Components(NamedTuple):
    """Connected components: row runs (y, start, end), each row's first run, the runs' ids, how many components."""

    runs: NDArray[np.int32]
    firsts: NDArray[np.int32]
    ids: NDArray[np.int32]
    n: int


def blank_classes(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Make an empty image of classes for `find_components`: a frame of one row, and rows of whole 64-bit words."""
    n_y, n_x = shape
    return np.zeros((n_y + 2, (n_x // 8 + 1) * 8), dtype=np.uint8)


def find_components(classes: NDArray[np.uint8], *, connectivity: Connectivity = 8) -> tuple[Components, Components]:
    """Find the connected components of a mask, and those of the seeds in it.

    `classes` are framed as `blank_classes` makes them: 1 in the mask, 2 on seeds in it, 0 elsewhere and on the frame.
    """
    classes = classes[1:-1]
    n_at_most = count_changes(classes) // 2 + 1
    runs, ids = np.empty((2, n_at_most, 3), dtype=np.int32), np.empty((2, n_at_most), dtype=np.int32)
    firsts, changes = np.empty((2, len(classes) + 1), dtype=np.int32), np.empty(classes.shape[1] + 1, dtype=np.int32)
    reach, words = int(connectivity == 8), classes.view(np.int64)
    counts = _find_components(classes, words, reach, runs, firsts, ids, changes)
    n_mask, n_seeds = firsts[:, -1]
    mask = Components(runs[0, :n_mask], firsts[0], ids[0, :n_mask], counts[0])
    return mask, Components(runs[1, :n_seeds], firsts[1], ids[1, :n_seeds], counts[1])


def find_components_of_mask(mask: Mask, *, connectivity: Connectivity = 8) -> Components:
    """Find the connected components of a mask."""
    classes = blank_classes(mask.shape)
    classes[1:-1, : mask.shape[1]] = mask
    return find_components(classes, connectivity=connectivity)[0]


def whole_rows(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Make one run of every row, for kernels that look at runs only."""
    runs = np.zeros((shape[0], 3), dtype=np.int32)
    runs[:, 0] = np.arange(shape[0])
    runs[:, 2] = shape[1]
    return runs


def count_pieces_and_holes(labels: Labels) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Count the pieces and the holes of every instance; both int32 (n + 1,) by id, 0 for background and missing ids.

    Pieces are 8-connected. A hole is a 4-connected region of anything else that one instance encloses; what lies
    outside the image's edge is not enclosed.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    n = int(labels.max(initial=0))
    pieces, quads = np.zeros(n + 1, dtype=np.int32), np.zeros(n + 1, dtype=np.int32)
    count_parts(labels, np.empty(labels.size, dtype=np.int32), pieces, quads)
    return pieces, pieces - quads // 4


def check_labels(labels: NDArray[Any]) -> tuple[Labels, int]:
    """Check that an array can be read as labels; return it as int32 in C order, and the highest id."""
    if labels.ndim != 2:
        raise DataError(f"labels have shape {labels.shape}; expected (H, W)")
    if labels.dtype.kind not in "iub":
        raise DataError(f"labels are {labels.dtype}; expected whole numbers: convert them with .astype(int)")
    if labels.dtype.kind == "b":
        return np.ascontiguousarray(labels, dtype=np.int32), 1
    if labels.dtype == np.int32:  # one pass: read without their sign, negative ids are above all others
        lowest, highest = 0, int(labels.view(np.uint32).max(initial=0))
    else:
        lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if lowest < 0 or highest > np.iinfo(np.int32).max:
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; expected 0 (background) to 2³¹ − 1"
        )
    return np.ascontiguousarray(labels, dtype=np.int32), highest


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
    checked, highest = check_labels(labels)
    if highest > checked.size:  # a table of all ids would be larger than the image
        ids = np.unique(checked[checked > 0])
        return np.where(checked > 0, np.searchsorted(ids, checked) + 1, 0).astype(np.int32)
    areas = np.zeros(highest + 1, dtype=np.int64)
    count_areas(checked.ravel(), areas)
    relabelled = np.empty_like(checked)
    replace_ids(checked.ravel(), np.append([0], np.cumsum(areas[1:] > 0)).astype(np.int32), relabelled.ravel())
    return relabelled


def relabel_in_raster_order(labels: Labels) -> Labels:
    """Renumber the instances 1…n without gaps, in raster order of their first pixels; few ids may be missing."""
    ordered: Labels = np.array(labels, dtype=np.int32, order="C")
    new_ids = np.zeros(int(ordered.max(initial=0)) + 1, dtype=np.int32)
    renumber_in_raster_order(whole_rows(ordered.shape), ordered, new_ids, 0)
    return ordered


def areas_px(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Count the pixels of every instance, int64 (n + 1,) by id; entry 0 is the background, missing ids have 0."""
    checked, highest = check_labels(labels)
    areas = np.zeros(highest + 1, dtype=np.int64)
    count_areas(checked.ravel(), areas)
    return areas


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
