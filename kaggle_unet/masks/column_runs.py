"""Runs counted down the columns: where an instance starts and how long it goes on.

``runs`` are int64, (n_runs, 2): 0-based start and length, in order of the starts. They are what run-length codes write
down and what overlapping masks are painted from. The runs of several instances follow one another; ``firsts``, int64,
(n + 1,), are the indices of each instance's first run and, at the end, the number of runs.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.kernels.rle import ID, find_segments, join_segments, paint_runs
from kaggle_unet.masks.labels import check_mask, check_shape, relabel
from kaggle_unet.types import Labels, Mask, Shape

Runs = NDArray[np.int64]
Firsts = NDArray[np.int64]


def find_column_runs(
    labels: Labels, *, top: int = 0, left: int = 0, n_y: int | None = None
) -> tuple[Runs, Firsts, NDArray[np.int32]]:
    """Find the column runs of all instances, by ascending id; return them with `firsts` and the ids present.

    `labels` may be a part of an image of height `n_y`, which begins at row `top` and column `left`.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    height, width = labels.shape
    n_y = height if n_y is None else n_y
    words, rows = np.zeros(-(-width // 32) * 4, dtype=np.uint64), np.zeros((2, width), dtype=np.int32)
    segments, counts = np.empty((2 * width + labels.size // 32, 4), dtype=np.int32), np.array([1, 0, 0])
    while labels.size:
        find_segments(labels, counts, rows, words, segments)
        if counts[0] > height:
            break
        segments = np.concatenate([segments, np.empty_like(segments)])
    _, n, highest = counts.tolist()
    segments, present = segments[:n], None
    if highest > labels.size:  # a table of all ids would be too large
        present, segments[:, ID] = np.unique(segments[:, ID], return_inverse=True)
        highest = present.size - 1
    places, ids = np.zeros(width + highest + 3, dtype=np.int64), np.empty(n, dtype=np.int32)
    runs, firsts = np.empty((n, 2), dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    n_ids = join_segments(segments, np.empty_like(segments), places, (n_y, width), runs, ids, firsts)
    firsts = firsts[: n_ids + 1]
    runs = runs[: firsts[-1]]
    if left or top:
        runs[:, 0] += left * n_y + top
    return runs, firsts, ids[:n_ids] if present is None else present


def runs_of_mask(mask: Mask) -> Runs:
    """List the column runs of one mask; only the rectangle that holds them is searched."""
    rows = _span(np.any(mask, axis=1))
    columns = _span(np.any(mask[rows], axis=0))
    part = mask[rows, columns].astype(np.int32, order="C")
    return find_column_runs(part, top=rows.start, left=columns.start, n_y=mask.shape[0])[0]


def _span(is_in: NDArray[np.bool_]) -> slice:
    """Return the slice from the first to the last True, empty if there is none."""
    places = np.flatnonzero(is_in)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def paint_masks(masks: Iterable[ArrayLike], shape: Shape) -> tuple[Labels, int, int]:
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
        If a mask has another shape, or is not a mask, such as one of probabilities.

    Notes
    -----
    Of two equally large masks, the one with the first pixel (in column-major order) that is not in both wins. So the
    order of different masks decides only their ids. A mask in several pieces stays one instance.

    Examples
    --------
    >>> import numpy as np
    >>> large, small = np.array([[True, True, True, False]]), np.array([[False, False, True, True]])
    >>> paint_masks([large, small], (1, 4))
    (array([[1, 1, 2, 2]], dtype=int32), 1, 0)
    """
    instances, shape = [], check_shape(shape)
    for index, mask in enumerate(masks, start=1):
        instances.append(runs_of_mask(check_mask(mask, f"mask {index}", shape)))
    return paint_instances(instances, shape)


def paint_instances(instances: Sequence[Runs], shape: Shape) -> tuple[Labels, int, int]:
    """Merge the column runs of instances into labels, by the rules of `paint_masks`."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *instances])
    firsts = np.cumsum([0, *map(len, instances)], dtype=np.int64)
    labels, n_contested = paint_column_runs(runs, firsts, shape)
    return labels, n_contested, len(instances) - int(labels.max(initial=0))


def paint_column_runs(runs: Runs, firsts: Firsts, shape: Shape) -> tuple[Labels, int]:
    """Paint all instances' runs by the rules of `paint_masks`; return the labels and the number of contested pixels."""
    labels = np.full(shape, 0, dtype=np.int32)  # written here, as fresh memory read first would be mapped in twice
    n_contested = paint_runs(runs, firsts, np.arange(len(firsts) - 1), labels)
    if n_contested:  # only now does it matter who comes first
        labels[:] = 0
        instances = np.split(runs, firsts[1:-1])
        order = sorted(range(len(instances)), key=lambda i: (*_precedence(instances[i]), i))
        paint_runs(runs, firsts, np.array(order), labels)
        np.abs(labels, out=labels)
    has_gaps = n_contested > 0 or (firsts[1:] == firsts[:-1]).any()
    return relabel(labels) if has_gaps else labels, n_contested


def _precedence(runs: Runs) -> tuple[int, bytes]:
    """Return the sort key: small instances first; of equals, the one with the first pixel that is not in both."""
    early_then_long = runs * np.array([1, -1]) + np.array([0, np.iinfo(np.int64).max])
    return int(runs[:, 1].sum()), early_then_long.astype(">i8").tobytes()  # big-endian bytes compare as numbers do
