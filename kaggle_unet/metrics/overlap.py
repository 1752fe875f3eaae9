"""Overlaps: the pixels that each pair of instances shares, from which all scores are computed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.kernels.labels import ID_WITHOUT_PLACE, PAIR_WITHOUT_PLACE
from kaggle_unet.kernels.labels import count_overlap as _count_overlap
from kaggle_unet.masks.labels import check_integers, check_labels, relabel
from kaggle_unet.types import Overlap

# What the kernel fills, in its order: areas, pairs, slots, counts, ends of runs as bytes and as words.
Tables = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_], NDArray[np.uint64]
]

# Places for ids and for pairs at the first try: few images need a second one, and clearing the tables takes little time
# compared with the pass over the pixels.
_PLACES, _PX_PER_PLACE = 2048, 64

# Pixels whose changes are marked at a time, and pixels converted at a time where need be: small compared with the first
# and the second cache.
_BLOCK_PX, _PART_PX = 4096, 65536

# An id that is out of the kernel's range, as all larger ones are.
_NO_ID = np.uint64(2**32 - 1)


def count_overlap(true: NDArray[Any], pred: NDArray[Any]) -> Overlap:
    """Count the pixels that each pair of instances shares.

    Instances are in ascending order of their ids, which may be any, and pairs in the order of their instances. A
    `DataError` says that the shapes differ or an array is not labels.

    One pass over the images takes O(pixels) time and memory for any number of instances; sorting n pairs takes
    O(n log n). The pass restarts, with more room, if it meets ids or numbers of pairs above 2,048 and above a 64th of
    the pixels. int32 arrays of the same memory order are not copied; others are, part by part.

    >>> overlap = count_overlap(np.array([[7, 7, 7, 2]]), np.array([[0, 1, 1, 0]]))
    >>> overlap.areas_true_px, overlap.areas_pred_px
    (array([1, 3]), array([2]))
    >>> overlap.true, overlap.pred, overlap.shared_px
    (array([1]), array([0]), array([2]))
    """
    true, pred = check_integers(true), check_integers(pred)
    if true.shape != pred.shape:
        raise DataError(f"true labels are {true.shape} but predicted ones {pred.shape}: both must be of the same image")
    if true.flags.f_contiguous and pred.flags.f_contiguous:
        true, pred = true.T, pred.T
    n_ids = n_places = max(_PLACES, true.size // _PX_PER_PLACE)
    while True:
        words = np.empty(_BLOCK_PX // 8, dtype=np.uint64)
        areas_px, counts = np.zeros((2, n_ids + 1), dtype=np.int64), np.zeros(5, dtype=np.int64)
        pairs = np.empty((n_places, 3), dtype=np.int64)
        slots = np.zeros(2 << (n_places - 1).bit_length(), dtype=np.int32)  # at most half of them are taken
        code = _count_by_parts(true, pred, (areas_px, pairs, slots, counts, words.view(np.bool_), words))
        if code == PAIR_WITHOUT_PLACE:
            n_places = min(8 * n_places, true.size)
        elif code == ID_WITHOUT_PLACE:
            (true, highest_true), (pred, highest_pred) = check_labels(true), check_labels(pred)
            n_ids = max(highest_true, highest_pred)
            if n_ids > true.size:
                true, pred, n_ids = relabel(true), relabel(pred), true.size
        else:
            break
    n_pairs, highest_true, highest_pred, n_true, n_pred = counts.tolist()
    pairs = pairs[:n_pairs]
    true_ids, pred_ids, shared_px = np.ascontiguousarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].T)
    areas_true_px, true_indices = _leave_out_gaps(areas_px[0, 1 : highest_true + 1], n_true, true_ids - 1)
    areas_pred_px, pred_indices = _leave_out_gaps(areas_px[1, 1 : highest_pred + 1], n_pred, pred_ids - 1)
    return Overlap(areas_true_px, areas_pred_px, true_indices, pred_indices, shared_px)


def _count_by_parts(true: NDArray[Any], pred: NDArray[Any], tables: Tables) -> int:
    """Fill the tables, converting no more than a part at a time; return the kernel's code."""
    n_y, n_x = true.shape
    needs_no_copy = all(labels.dtype == np.int32 and labels.flags.carray for labels in (true, pred))
    n_lines = n_y if needs_no_copy else _PART_PX // max(1, n_x)
    for y in range(0, n_y, max(1, n_lines)):
        parts: list[NDArray[np.uint32]] = []
        for labels in (true[y : y + n_lines], pred[y : y + n_lines]):  # anything but an id becomes one without a place
            part = (labels if labels.flags.carray else np.array(labels, order="C")).reshape(-1)
            if part.dtype.itemsize > 4:
                part = np.minimum(part.astype(np.uint64), _NO_ID)
            parts.append(part.view(np.uint32) if part.dtype == np.int32 else part.astype(np.uint32))
        if code := _count_overlap(parts[0], parts[1], *tables):
            return code
    return 0


def _leave_out_gaps(
    areas_px: NDArray[np.int64], n: int, indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Drop areas of 0; return the n others, and the new indices of some of them."""
    if n == areas_px.size:
        return areas_px.copy(), indices
    present = np.flatnonzero(areas_px)
    return areas_px[present], np.searchsorted(present, indices)


def merge_instances(overlap: Overlap) -> Overlap:
    """Merge all true instances into one, and all predicted ones into another."""
    sums = (overlap.shared_px.sum(), overlap.areas_true_px.sum(), overlap.areas_pred_px.sum())
    return pair_of_masks(*map(int, sums))


def pair_of_masks(n_shared_px: int, n_true_px: int, n_pred_px: int) -> Overlap:
    """Return the overlap of two masks, one instance each."""
    sizes = (n_shared_px, n_true_px, n_pred_px)
    shared_px, areas_true_px, areas_pred_px = (np.array([n] if n else [], dtype=np.int64) for n in sizes)
    first = np.zeros(shared_px.size, dtype=np.int64)
    return Overlap(areas_true_px, areas_pred_px, first, first, shared_px)


def iou_twentieths(overlap: Overlap, *, strict: bool) -> NDArray[np.int64]:
    """Compute the highest twentieth that each pair's IoU reaches, or with `strict` exceeds; int64 (n_pairs,).

    In integers, the largest k with ``20·I >= k·U`` (or ``>``): 0.6 is not a binary fraction, and a float quotient would
    decide by chance at 12/20.
    """
    return (20 * overlap.shared_px - int(strict)) // overlap.union_px
