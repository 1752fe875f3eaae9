"""Runs: where an instance starts and how long it goes on, counted down the columns.

``runs`` are int64, (n_runs, 2): 0-based start and length, in order of the starts. They are what run-length codes write
down and what overlapping masks are painted from. The runs of several instances lie one behind the other; ``firsts``,
int64, (n + 1,), are the indices of each instance's first run and, at the end, the number of runs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.rle import ID, X, Y, find_pieces, join_pieces, paint_runs, sort_pieces
from kaggle_unet.types import Labels, Mask

Runs = NDArray[np.int64]
Firsts = NDArray[np.int64]


def find_column_runs(labels: Labels) -> tuple[Runs, Firsts, NDArray[np.int32]]:
    """Find the runs of all instances.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.

    Returns
    -------
    runs : int64 array, shape (n_runs, 2)
        0-based start and length, by ascending id.
    firsts : int64 array, shape (n + 1,)
        Index of each instance's first run, and the number of runs.
    ids : int32 array, shape (n,)
        The ids present, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> find_column_runs(np.array([[5, 2], [5, 5]], dtype=np.int32))
    (array([[2, 1], [0, 2], [3, 1]]), array([0, 1, 3]), array([2, 5], dtype=int32))
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    pieces, highest = _sort(_find_pieces(labels), X, labels.shape[1])
    if highest <= labels.size:
        return _join(_sort(pieces, ID, highest + 1)[0], labels.shape[0])
    ids, pieces[:, ID] = np.unique(pieces[:, ID], return_inverse=True)  # a table of all ids would be too large
    runs, firsts, _ = _join(_sort(pieces, ID, ids.size)[0], labels.shape[0])
    return runs, firsts, ids


def split_runs(labels: Labels) -> tuple[NDArray[np.int32], list[Runs]]:
    """List the runs of every instance."""
    runs, firsts, ids = find_column_runs(labels)
    return ids, np.split(runs, firsts[1:-1]) if ids.size else []


def merge_runs(instances: Sequence[Runs], shape: tuple[int, int]) -> tuple[Labels, int]:
    """Paint instances into one image; where they overlap, the smaller one wins.

    Parameters
    ----------
    instances : sequence of int64 array, shape (n_runs, 2)
        The runs of each instance, sorted, inside the image.
    shape : tuple of int
        (H, W).

    Returns
    -------
    labels : int32 array, shape (H, W)
        Ids 1…n in the order of the instances. An instance that is left without a pixel has none, so ids may be missing.
    n_contested : int
        Pixels claimed by more than one instance.

    Notes
    -----
    Of two equally large instances the one wins that has the first pixel, in column-major order, that is not in both;
    only for equal instances does the input's order decide.
    """
    return paint(*chain_runs(instances), shape)


def chain_runs(instances: Sequence[Runs]) -> tuple[Runs, Firsts]:
    """Put the runs of several instances one behind the other."""
    firsts = np.zeros(len(instances) + 1, dtype=np.int64)
    np.cumsum([len(runs) for runs in instances], dtype=np.int64, out=firsts[1:])
    return np.concatenate([np.empty((0, 2), np.int64), *instances]), firsts


def paint(runs: Runs, firsts: Firsts, shape: tuple[int, int]) -> tuple[Labels, int]:
    """Paint the runs of all instances into one image; `merge_runs` says who wins where they overlap."""
    labels = np.full(shape, 0, dtype=np.int32)  # written here, as fresh memory read first would be mapped in twice
    n_contested = paint_runs(runs, firsts, np.arange(len(firsts) - 1), labels)
    if n_contested:  # only now does it matter who comes first
        labels[:] = 0
        instances = np.split(runs, firsts[1:-1])
        order = sorted(range(len(instances)), key=lambda i: (*_precedence(instances[i]), i))
        paint_runs(runs, firsts, np.array(order), labels)
        np.abs(labels, out=labels)
    return labels, n_contested


def _precedence(runs: Runs) -> tuple[int, bytes]:
    """Sort key: small instances first; of equals the one that has the first pixel that is not in both."""
    early_then_long = runs * np.array([1, -1]) + np.array([0, np.iinfo(np.int64).max])
    return int(runs[:, 1].sum()), early_then_long.astype(">i8").tobytes()  # big-endian bytes compare as numbers do


def runs_of_mask(mask: Mask) -> Runs:
    """List the runs of one mask.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        The instance's pixels.

    Returns
    -------
    int64 array, shape (n_runs, 2)
        Its runs; no rows for an empty mask.

    Notes
    -----
    Only the rectangle that holds them is searched: most masks are of one small object.
    """
    is_in = mask if mask.dtype == np.bool_ else mask > 0
    rows = _span(np.any(is_in, axis=1))
    columns = _span(np.any(is_in[rows], axis=0))
    return runs_of_part(is_in[rows, columns], rows.start, columns.start, mask.shape[0])


def runs_of_part(part: Mask, y: int, x: int, n_y: int) -> Runs:
    """List the runs of a mask of which a part is known, and nothing is outside.

    Parameters
    ----------
    part : bool array, shape (h, w)
        The instance's pixels.
    y, x : int
        Where in the mask its first pixel lies.
    n_y : int
        H of the mask.

    Returns
    -------
    int64 array, shape (n_runs, 2)
        Its runs in the mask.

    Examples
    --------
    >>> import numpy as np
    >>> runs_of_part(np.array([[True, True]]), y=3, x=0, n_y=10)
    array([[ 3,  1],
           [13,  1]])
    """
    pieces = _sort(_find_pieces(part.astype(np.int32, order="C")), X, part.shape[1])[0]
    pieces[:, X] += x
    pieces[:, Y] += y
    return _join(pieces, n_y)[0]


def _span(is_in: NDArray[np.bool_]) -> slice:
    """Give the part of a line from the first pixel that is in to the last one; nothing if none is."""
    places = np.flatnonzero(is_in)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _find_pieces(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Find the pieces of runs, cut at the feet of the columns, in an array that is made larger when it is full."""
    n_y, n_x = ids.shape
    words = np.zeros(-(-n_x // 8), dtype=np.int64)
    rows = np.zeros(n_x, dtype=np.int32), np.zeros(n_x, dtype=np.int32), words.view(np.uint8), words
    pieces = np.empty((2 * n_x + ids.size // 32, 4), dtype=np.int32)
    y, n = 1, 0
    while ids.size:
        y, n = find_pieces(ids, y, n, *rows, pieces)
        if y > n_y:
            break
        pieces = np.concatenate([pieces, np.empty_like(pieces)])
    return pieces[:n]


def _sort(pieces: NDArray[np.int32], key: int, n_values: int) -> tuple[NDArray[np.int32], int]:
    """Sort pieces by one of their columns, whose values lie below `n_values`, and find the highest id."""
    ordered = np.empty_like(pieces)
    highest = sort_pieces(pieces, key, np.zeros(n_values + 1, dtype=np.int64), ordered)
    return ordered, int(highest)


def _join(pieces: NDArray[np.int32], n_y: int) -> tuple[Runs, Firsts, NDArray[np.int32]]:
    """Join sorted pieces to runs."""
    n = len(pieces)
    runs, firsts = np.empty((n, 2), dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    ids = np.empty(n, dtype=np.int32)
    n_ids = join_pieces(pieces, n_y, runs, ids, firsts)
    firsts = firsts[: n_ids + 1]
    return runs[: firsts[-1]], firsts, ids[:n_ids]
