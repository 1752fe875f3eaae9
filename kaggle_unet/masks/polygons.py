"""Polygons along the edges of pixels, and back: a pixel is inside if its centre is.

Coordinates are (x, y) in pixels from the image's upper left corner, so that the first pixel's centre is (0.5, 0.5).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import skimage.measure
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.kernels.polygons import trace_rings
from kaggle_unet.masks.column_runs import Runs, find_column_runs
from kaggle_unet.types import Labels, Shape

Ring = NDArray[np.int32]  # (n, 2): corners (x, y), without repeating the first at the end
Polygon = list[Ring]  # the outer ring, then holes


def trace_polygons(labels: Labels) -> dict[int, list[Polygon]]:
    """Outline every instance by ascending id: a polygon for each of its 4-connected pieces.

    >>> {key: [[ring.tolist() for ring in piece] for piece in found] for key, found in trace_polygons([[7, 7]]).items()}
    {7: [[[[2, 0], [2, 1], [0, 1], [0, 0]]]]}
    """
    labels = np.asarray(labels)
    pieces = np.pad(skimage.measure.label(labels, background=0, connectivity=1).astype(np.int32), 1)
    first = pieces[:-1, :-1]
    is_corner = (pieces[:-1, 1:] != first) | (pieces[1:, :-1] != first) | (pieces[1:, 1:] != first)
    n_most = 4 * int(is_corner.sum())  # each at most once for each pixel that meets it
    vertices, firsts = np.empty((n_most, 2), np.int32), np.empty(n_most // 4 + 1, np.int64)
    ids = np.empty(n_most // 4, np.int32)
    n_rings = trace_rings(pieces, np.zeros(pieces.shape, np.bool_), vertices, firsts, ids)
    polygons: dict[int, Polygon] = {}
    for i in range(n_rings):
        polygons.setdefault(int(ids[i]), []).append(vertices[firsts[i] : firsts[i + 1]])
    found: dict[int, list[Polygon]] = {}
    for polygon in polygons.values():
        x, y = polygon[0][-1]  # where the outer ring began: the upper left corner of its first pixel
        found.setdefault(int(labels[y, x]), []).append(polygon)
    return dict(sorted(found.items()))


def fill_polygons(polygons: Iterable[Sequence[ArrayLike]], shape: Shape) -> Runs:
    """Return the column runs of those pixels of an image whose centres lie in any of the polygons."""
    filled = [_fill_rings(rings, shape) for rings in polygons]
    top, left = min((y for _, y, _ in filled), default=0), min((x for _, _, x in filled), default=0)
    bottom = max((y + part.shape[0] for part, y, _ in filled), default=0)
    right = max((x + part.shape[1] for part, _, x in filled), default=0)
    whole = np.zeros((bottom - top, right - left), np.int32)
    for part, y, x in filled:
        whole[y - top : y - top + part.shape[0], x - left : x - left + part.shape[1]] |= part
    return find_column_runs(whole, top=top, left=left, n_y=shape[0])[0]


def _fill_rings(rings: Sequence[ArrayLike], shape: Shape) -> tuple[NDArray[np.int32], int, int]:
    """Fill one polygon by the even-odd rule: a row's pixels change sides where its line of centres crosses an edge."""
    arrays = [np.asarray(ring, dtype=np.float64) for ring in rings]
    corners = [ring[:, :2] if ring.ndim == 2 else ring.reshape(-1, 2) for ring in arrays]  # GeoJSON may have a height
    starts = np.concatenate([np.empty((0, 2)), *corners])
    ends = np.concatenate([np.empty((0, 2)), *(np.roll(ring, -1, axis=0) for ring in corners)])
    down = starts[:, 1] <= ends[:, 1]
    (x0, y0), (x1, y1) = np.where(down[:, None], starts, ends).T, np.where(down[:, None], ends, starts).T
    first = np.clip(np.ceil(y0 - 0.5), 0, shape[0]).astype(np.int64)
    n_rows = np.clip(np.ceil(y1 - 0.5), 0, shape[0]).astype(np.int64) - first
    edge = np.repeat(np.arange(len(n_rows)), n_rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, shape[1]).astype(np.int64)
    if not len(row):
        return np.zeros((0, 0), np.int32), 0, 0
    (top, left), (bottom, right) = (row.min(), column.min()), (row.max(), column.max())
    changes = np.zeros((bottom - top + 1, right - left + 1), np.int64)
    np.add.at(changes, (row - top, column - left), 1)
    return (np.cumsum(changes, axis=1) % 2).astype(np.int32)[:, :-1], int(top), int(left)
