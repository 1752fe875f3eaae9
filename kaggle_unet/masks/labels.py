"""Labels: check, renumber and measure them, and find connected components.

Components are found among runs of pixels along the rows; masks, holes and decoding start from these.
"""

from collections.abc import Sequence
from operator import index
from typing import Any, Literal, NamedTuple, NoReturn, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.kernels.components import count_changes, paint_runs
from kaggle_unet.kernels.components import find_components as _find_components
from kaggle_unet.kernels.labels import ID_WITHOUT_PLACE, count_areas, renumber_in_raster_order
from kaggle_unet.types import Labels, Mask, Shape

_FEWEST_OBJECTS = 3  # fewer give no reliable diameter
_HIGHEST_ID = _MOST_PX = np.iinfo(np.int32).max  # kernels count pixels in 32 bits
# Places for the areas of ids at the first try, which is the last one for nearly all images.
_PLACES, _PX_PER_PLACE = 2048, 64

Connectivity = Literal[4, 8]


class Components(NamedTuple):
    """Connected components: row runs (y, start, end), each row's first run, the runs' ids, how many components."""

    runs: NDArray[np.int32]
    firsts: NDArray[np.int32]
    ids: NDArray[np.int32]
    n: int


def blank_classes(shape: Shape) -> NDArray[np.uint8]:
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


def whole_rows(shape: Shape) -> NDArray[np.int32]:
    """Make one run of every row, for kernels that only look at runs."""
    runs = np.zeros((shape[0], 3), dtype=np.int32)
    runs[:, 0] = np.arange(shape[0])
    runs[:, 2] = shape[1]
    return runs


def count_pieces_and_holes(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pieces and the holes of every instance; both int64 (n + 1,) by id, 0 for background and missing ids.

    Pieces are 8-connected. A hole is a 4-connected region of anything else that one instance encloses; what lies
    outside the image's edge is not enclosed.
    """
    from skimage.measure import label

    labels, n = check_dense_labels(labels)
    found, n_pieces = label(labels, background=0, connectivity=2, return_num=True)
    owners = np.zeros(n_pieces + 1, dtype=np.int32)
    owners[found] = labels
    pieces = np.bincount(owners[1:], minlength=n + 1)
    # Pieces minus holes is the Euler number, a sum over all squares of 2 × 2 pixels: 1/4 for a square with one pixel of
    # the instance, −1/4 for three, −1/2 for two that share only a corner. Each of those pixels adds its share, in 1/12.
    framed = np.pad(labels, 1)
    corners = framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:]
    is_mixed = np.logical_or.reduce([corner != corners[0] for corner in corners[1:]])
    squares = np.stack([corner[is_mixed] for corner in corners])
    n_alike = (squares[:, None] == squares).sum(axis=0)
    shares = np.array([0, 3, 0, -1])[n_alike] - 3 * ((n_alike == 2) & (squares == squares[::-1]))
    holes = pieces - np.bincount(squares.ravel(), shares.ravel(), minlength=n + 1).astype(np.int64) // 12
    holes[0] = 0
    return pieces, holes


def check_integers(
    values: ArrayLike,
    what: str = "labels",
    shape: Shape | None = None,
    wanted: str = "whole numbers: convert them with .astype(int)",
) -> NDArray[Any]:
    """Check that values are integers or booleans in an image's shape, or in any; messages call them `what`."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{what} of uneven rows ({error}); expected shape (H, W)") from error
    if array.ndim != 2 or shape not in {None, array.shape}:
        raise DataError(f"{what} of shape {array.shape}; expected {shape or '(H, W)'}")
    if array.size > _MOST_PX:
        raise DataError(f"{what} of shape {array.shape}; expected fewer than 2³¹ pixels: cut the image into parts")
    if array.dtype.kind not in "iub":
        raise DataError(f"{what} of dtype {array.dtype}; expected {wanted}")
    return array


def check_shape(shape: Sequence[int]) -> Shape:
    """Check that a shape is (H, W), in whole numbers from 0."""
    try:
        n_y, n_x = map(index, shape)
    except (TypeError, ValueError):
        n_y = n_x = -1
    if min(n_y, n_x) < 0:
        raise DataError(f"shape {shape!r}; expected (H, W), the height and width of an image in pixels")
    return n_y, n_x


def check_mask(mask: ArrayLike, what: str = "mask", shape: Shape | None = None) -> Mask:
    """Check that an array can be read as a mask; what is not 0 is inside."""
    checked = check_integers(mask, what, shape, "bool: compare with a threshold, such as probabilities > 0.5")
    return checked if checked.dtype == np.bool_ else np.asarray(checked != 0)


def to_labels(labels: ArrayLike, what: str = "labels", shape: Shape | None = None) -> Labels:
    """Check that an array can be read as labels; return it as int32 in C order, writable, with negative ids left in.

    Kernels that do not use ids as indices find negative ones in passing, which saves a pass of their own.
    """
    array = check_integers(labels, what, shape)
    if array.dtype == np.int32 and array.flags.carray:  # kernels are compiled only for such arrays
        return array
    if array.dtype.itemsize >= 4 and array.size and (array.min() < 0 or array.max() > _HIGHEST_ID):
        refuse_ids(array, what)
    return np.array(array, dtype=np.int32, order="C")


def refuse_ids(labels: NDArray[Any], what: str = "labels") -> NoReturn:
    """Raise a `DataError` that names the range of ids."""
    lowest, highest = int(labels.min()), int(labels.max())
    raise DataError(f"{what} with ids from {lowest} to {highest}; expected 0 (background) to 2³¹ − 1")


def check_labels(labels: ArrayLike, what: str = "labels", shape: Shape | None = None) -> tuple[Labels, int]:
    """Check labels as `to_labels` does, and refuse negative ids; return the labels and the highest id."""
    checked = to_labels(labels, what, shape)
    highest = int(checked.view(np.uint32).max(initial=0))  # read without their sign, negative ids are above all others
    if highest > _HIGHEST_ID:
        refuse_ids(checked, what)
    return checked, highest


def check_dense_labels(labels: ArrayLike) -> tuple[Labels, int]:
    """Check labels as `check_labels` does; renumber them if a table of all ids would be larger than the image."""
    checked, highest = check_labels(labels)
    if highest <= checked.size:
        return checked, highest
    ids = np.unique(checked[checked > 0])
    return np.where(checked > 0, np.searchsorted(ids, checked) + 1, 0).astype(np.int32), ids.size


def measure_labels(labels: ArrayLike) -> tuple[Labels, NDArray[np.int64]]:
    """Check labels as `check_dense_labels` does, and count the pixels of every id, in one pass for most images."""
    checked = to_labels(labels)
    areas = np.zeros(max(_PLACES, checked.size // _PX_PER_PLACE), dtype=np.int64)
    highest = count_areas(checked.view(np.uint32).reshape(-1), areas)
    if highest == ID_WITHOUT_PLACE:
        checked, highest = check_dense_labels(checked)
        areas = np.zeros(highest + 1, dtype=np.int64)
        count_areas(checked.view(np.uint32).reshape(-1), areas)
    return checked, areas[: highest + 1]


def relabel(labels: ArrayLike) -> Labels:
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
    checked, areas = measure_labels(labels)
    if areas[1:].all():
        return np.array(checked)
    new_ids = np.append([0], np.cumsum(areas[1:] > 0)).astype(np.int32)
    return new_ids[checked]


def relabel_in_raster_order(labels: Labels) -> Labels:
    """Renumber the instances 1…n without gaps, in raster order of their first pixels."""
    checked, highest = check_dense_labels(labels)
    ordered = np.array(checked)
    renumber_in_raster_order(whole_rows(ordered.shape), ordered, np.zeros(highest + 1, dtype=np.int32))
    return ordered


def areas_px(labels: ArrayLike) -> NDArray[np.int64]:
    """Count the pixels of every instance, int64 (n + 1,) by id; entry 0 is the background, missing ids have 0.

    Ids above the number of pixels are renumbered first.
    """
    return measure_labels(labels)[1]


def components(mask: ArrayLike, *, connectivity: Connectivity = 8) -> Labels:
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
    mask = check_mask(mask)
    if connectivity not in get_args(Connectivity):
        raise ConfigError(f"connectivity is {connectivity!r}; expected 4 or 8")
    found = find_components_of_mask(mask, connectivity=connectivity)
    labels = np.zeros(mask.shape, dtype=np.int32)
    paint_runs(found.runs, found.ids, labels)
    return labels


def object_diameter_px(areas_px: NDArray[np.int64]) -> float | None:
    """Estimate the diameter of an image's objects from their areas; None for fewer than three.

    It is that of a circle with the area of the median pixel's object: half of all pixels inside objects are in larger
    ones, so small fragments, however many, change it little.
    """
    areas = np.sort(areas_px[areas_px > 0])
    if len(areas) < _FEWEST_OBJECTS:
        return None
    median = areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]
    return float(np.sqrt(4 * median / np.pi))
