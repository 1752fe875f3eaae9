"""Tiles of an image too large for one forward pass, split and merged.

Tiles lie on a grid that all poolings share, show mirrored pixels beyond the image's edges, and overlap. Near a tile's
edge, where a padded network sees zeros instead of the image, planes have weight 0; further in, the weight rises to 1.
Weights sum to 1 everywhere, so that the tiles of an image merge into that image. A network whose receptive field fits
into the part of weight 0 gives the same planes as for the whole image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.batch import PadSpec, padded_shape
from kaggle_unet.errors import ConfigError
from kaggle_unet.types import Inputs, Planes, Shape, Sliced

ZERO_WEIGHT = 3 / 8  # of an overlap, at either side


@dataclass(frozen=True)
class TileSpan:
    """Where a tile lies along one axis: what it shows of the image, and which of its pixels go where, weighted."""

    start: int
    side: int
    out: slice
    seen: slice
    weight: NDArray[np.float32]


Tile = tuple[TileSpan, TileSpan]  # its rows and its columns


def plan_tiles(shape: Shape, *, tile_px: int, overlap_px: int, pad_spec: PadSpec) -> list[Tile]:
    """Lay tiles over an image, row by row: all of one size, no more than needed, with sides of at most `tile_px`.

    Neighbours overlap by at least `overlap_px`, or with a margin by twice the margin, so that outputs abut.

    >>> [columns.start for _, columns in plan_tiles((8, 40), tile_px=16, overlap_px=4, pad_spec=PadSpec(4))]
    [0, 12, 24]
    >>> [columns.out for _, columns in plan_tiles((8, 20), tile_px=16, overlap_px=0, pad_spec=PadSpec(1, 3))]
    [slice(0, 10, None), slice(10, 20, None)]
    """
    rows, columns = (_plan_axis(length, tile_px, overlap_px, pad_spec) for length in shape)
    return [(row, column) for row in rows for column in columns]


def cut_tile(inputs: Sliced, tile: Tile) -> Inputs:
    """Cut a tile out of an image, mirrored beyond its edges.

    >>> image = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    >>> (tile,) = plan_tiles((1, 6), tile_px=8, overlap_px=0, pad_spec=PadSpec(8))
    >>> cut_tile(image, tile)[0, 0]
    array([0., 0., 1., 2., 3., 4., 5., 5.], dtype=float32)
    """
    places, box = [], []
    for span, length in zip(tile, inputs.shape[1:], strict=True):
        place = np.arange(span.start, span.start + span.side) % (2 * length)
        place = np.minimum(place, 2 * length - 1 - place)  # mirrored, the edge pixel included
        box.append(slice(int(place.min()), int(place.max()) + 1))
        places.append(place - place.min())
    pixels: Inputs = inputs[:, box[0], box[1]][:, places[0][:, np.newaxis], places[1]]
    return pixels


def merge_tiles(pieces: Iterable[tuple[Tile, Planes]], width: int) -> Iterator[tuple[slice, Planes]]:
    """Merge tiles, and yield rows as soon as no further tile can change them."""
    begun: Planes | None = None  # the rows that the next tiles may change
    top = 0
    for start, row in groupby(pieces, key=lambda piece: piece[0][0].out.start):
        if begun is not None and start > top:
            yield slice(top, start), begun[:, : start - top]
            begun = begun[:, start - top :]
        top = start
        for (rows, columns), planes in row:
            begun = _grow(begun, (planes.shape[0], rows.out.stop - top, width))
            weight = rows.weight[:, np.newaxis] * columns.weight
            begun[:, :, columns.out] += planes[:, rows.seen, columns.seen] * weight
    if begun is not None:
        yield slice(top, top + begun.shape[1]), begun


def _grow(begun: Planes | None, shape: tuple[int, int, int]) -> Planes:
    """Append rows of zeros up to a shape."""
    if begun is not None and begun.shape[1] >= shape[1]:
        return begun
    grown = np.zeros(shape, dtype=np.float32)
    if begun is not None:
        grown[:, : begun.shape[1]] = begun
    return grown


def _plan_axis(length: int, tile_px: int, overlap_px: int, pad_spec: PadSpec) -> list[TileSpan]:
    multiple, margin = pad_spec
    padded, _ = padded_shape((length, length), pad_spec)
    overlap = -(-(2 * margin if margin else overlap_px) // multiple) * multiple
    longest = tile_px // multiple * multiple
    if padded <= longest:
        n, side = 1, padded
    elif longest <= overlap:
        msg = f"tiles of {tile_px} pixels a side can't overlap by {overlap} (on multiples of {multiple}); raise "
        raise ConfigError(msg + "inference.tile_px, or lower inference.overlap_px")
    else:
        n = -(-(padded - overlap) // (longest - overlap))
        side = -(-(padded + (n - 1) * overlap) // (n * multiple)) * multiple
    step = -(-(padded - side) // (max(n - 1, 1) * multiple)) * multiple
    border = (padded - length) // 2
    starts = [min(number * step, padded - side) - border for number in range(n)]
    return _weigh(length, starts, side, margin)


def _weigh(length: int, starts: list[int], side: int, margin: int) -> list[TileSpan]:
    """Compute the weight of every tile at every pixel of an axis."""
    ends = [start + side - margin for start in starts]
    starts_out = [start + margin for start in starts]
    overlaps = [0, *(end - start for end, start in zip(ends[:-1], starts_out[1:], strict=True)), 0]
    size = side - 2 * margin
    windows = [_rise(size, low) * _rise(size, high)[::-1] for low, high in pairwise(overlaps)]
    seen = [slice(max(0, -start), size - max(0, end - length)) for start, end in zip(starts_out, ends, strict=True)]
    outs = [slice(start + part.start, start + part.stop) for start, part in zip(starts_out, seen, strict=True)]
    total = np.zeros(length)
    for window, part, out in zip(windows, seen, outs, strict=True):
        total[out] += window[part]
    return [
        TileSpan(start, side, out, part, (window[part] / total[out]).astype(np.float32))
        for start, window, part, out in zip(starts, windows, seen, outs, strict=True)
    ]


def _rise(size: int, overlap: int) -> NDArray[np.float64]:
    """Return weights that rise from 0 to 1 along a cosine, in the middle of the first `overlap` pixels."""
    if overlap == 0:
        return np.ones(size)
    silent = int(ZERO_WEIGHT * overlap)
    risen = np.clip((np.arange(size) + 0.5 - silent) / (overlap - 2 * silent), 0, 1)
    return np.asarray((1 - np.cos(np.pi * risen)) / 2)
