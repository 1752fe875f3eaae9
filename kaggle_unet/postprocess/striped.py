"""Decoding of planes larger than memory, a stripe of rows at a time, with the same result as in one piece.

Components of the mask are decoded independently of each other. Those inside a stripe are decoded with it; those that
reach its edge are joined with their continuations, and each is then decoded in its own bounding box. Holes are filled
in the same way, because a hole lies inside its instance's box. Finally, ids are renumbered in raster order of the
instances' first pixels, as in one piece.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from kaggle_unet.errors import ConfigError
from kaggle_unet.kernels.labels import count_areas
from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess.clean import fill_holes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Mask, Planes

Sliced: TypeAlias = Any  # an array read and written by boxes, which may be on disk: `numpy.memmap`, zarr, HDF5


class SeamComponent(NamedTuple):
    """Box of a component that crosses seams between stripes, or of its piece in one stripe, and its first pixel."""

    top: int
    left: int
    bottom: int
    right: int
    first_yx: tuple[int, int]


@dataclass
class SeamComponents:
    """Pieces of components that reach a stripe's edge, from the top stripe down, and which of them touch."""

    _pieces: list[SeamComponent] = field(default_factory=list)
    _pairs: list[NDArray[np.int64]] = field(default_factory=list)
    _last_row: NDArray[np.int64] | None = None

    def add(self, labels: Labels, is_at_edge: NDArray[np.bool_], top: int) -> None:
        """Add the pieces of the next stripe."""
        indices = np.full(len(is_at_edge), -1, dtype=np.int64)
        boxes = scipy.ndimage.find_objects(np.where(is_at_edge[labels], labels, 0))
        for label in np.flatnonzero(is_at_edge).tolist():
            y, x = boxes[label - 1]
            first_yx = top + y.start, x.start + int((labels[y.start, x] == label).argmax())
            indices[label] = len(self._pieces)
            self._pieces.append(SeamComponent(top + y.start, x.start, top + y.stop, x.stop, first_yx))
        if self._last_row is not None:
            self._pairs.append(_touching(self._last_row, indices[labels[0]]))
        self._last_row = indices[labels[-1]]

    def join(self) -> list[SeamComponent]:
        """Return the components that the pieces make up."""
        upper, lower = np.concatenate([np.zeros((2, 0), np.int64), *self._pairs], axis=1)
        n = len(self._pieces)
        touch = scipy.sparse.coo_array((np.ones(len(upper), np.bool_), (upper, lower)), shape=(n, n))
        n_components, ids = connected_components(touch, directed=False) if n else (0, np.zeros(0, np.int32))
        groups: list[list[SeamComponent]] = [[] for _ in range(n_components)]
        for id_, piece in zip(ids.tolist(), self._pieces, strict=True):
            groups[id_].append(piece)
        return [
            SeamComponent(min(tops), min(lefts), max(bottoms), max(rights), min(firsts))
            for tops, lefts, bottoms, rights, firsts in (zip(*group, strict=True) for group in groups)
        ]


def _touching(upper: NDArray[np.int64], lower: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of pieces that touch across a seam, corners included; shape (2, n)."""
    n = len(upper)
    pairs = [
        np.stack([upper[max(0, -step) : n - max(0, step)], lower[max(0, step) : n - max(0, -step)]])
        for step in (-1, 0, 1)
    ]
    both = np.concatenate(pairs, axis=1)
    return np.unique(both[:, (both >= 0).all(axis=0)], axis=1)


@dataclass
class _Found:
    """The instances so far, by provisional id: flat indices of first pixels, and boxes of those that cross a seam."""

    firsts: list[NDArray[np.int64]] = field(default_factory=list)
    boxes: list[tuple[slice, slice]] = field(default_factory=list)
    n: int = 0


def decode_large(
    codec: Codec,
    planes: Sliced,
    decode: DecodeSettings,
    postprocess: PostprocessSettings,
    *,
    out: Sliced,
    stripe_px: int = 1024,
) -> int:
    """Decode planes and clean the labels, a stripe of rows at a time; return the number of instances.

    Both arrays may be on disk: `planes` (C, H, W) is read by boxes, most pixels once; `out` (H, W), int32, is filled
    with what `kaggle_unet.postprocess.decoder.Decoder` returns for all planes at once, without rules for whole images.
    Memory is that of one stripe, or of the box of the largest component that crosses a seam if that is more, beside a
    few numbers for each instance. A mask that is one net over the whole image therefore takes as much as the image.
    """
    if decode.single_object:
        return _decode_object(codec, planes, decode, postprocess, out, stripe_px)
    pieces, found = SeamComponents(), _Found()
    for rows in _stripes(out.shape[0], stripe_px):
        _decode_stripe(codec, planes, decode, rows, pieces, found, out)
    for piece in pieces.join():
        _decode_piece(codec, planes, decode, piece, found, out)
    _fill_holes(out, found, postprocess.fill_holes_px, stripe_px)
    return _renumber(out, found, postprocess.min_area_px, stripe_px)


def _stripes(height: int, stripe_px: int) -> Iterator[slice]:
    for top in range(0, height, stripe_px):
        yield slice(top, min(top + stripe_px, height))


def _read(planes: Sliced, rows: slice, columns: slice = slice(None)) -> Planes:
    return np.array(planes[:, rows, columns], dtype=np.float32)


def _decode_stripe(
    codec: Codec,
    planes: Sliced,
    decode: DecodeSettings,
    rows: slice,
    pieces: SeamComponents,
    found: _Found,
    out: Sliced,
) -> None:
    """Decode the components inside a stripe, and leave those that reach its edge."""
    stripe = _read(planes, rows)
    parts = components(codec.find_mask(stripe, decode))
    is_at_edge = np.zeros(int(parts.max(initial=0)) + 1, dtype=np.bool_)
    if rows.start > 0:
        is_at_edge[parts[0]] = True
    if rows.stop < out.shape[0]:
        is_at_edge[parts[-1]] = True
    is_at_edge[0] = False
    pieces.add(parts, is_at_edge, rows.start)
    stripe[:, is_at_edge[parts]] = 0  # below every threshold, so there is no mask
    labels = codec.decode(stripe, decode)
    out[rows, :] = _keep(labels, (rows.start, 0), found, out.shape[1])


def _decode_piece(
    codec: Codec, planes: Sliced, decode: DecodeSettings, piece: SeamComponent, found: _Found, out: Sliced
) -> None:
    """Decode a component by itself, in its box."""
    rows, columns = slice(piece.top, piece.bottom), slice(piece.left, piece.right)
    box = _read(planes, rows, columns)
    parts = components(codec.find_mask(box, decode))
    y, x = piece.first_yx
    is_piece: Mask = parts == parts[y - piece.top, x - piece.left]
    box[:, ~is_piece] = 0
    labels = codec.decode(box, decode)
    found.boxes += [
        (slice(piece.top + y.start, piece.top + y.stop), slice(piece.left + x.start, piece.left + x.stop))
        for y, x in scipy.ndimage.find_objects(labels)
    ]
    labels = _keep(labels, (piece.top, piece.left), found, out.shape[1])
    out[rows, columns] = np.where(is_piece, labels, out[rows, columns])


def _keep(labels: Labels, corner_yx: tuple[int, int], found: _Found, width: int) -> Labels:
    """Record the instances of a box and give them provisional ids of their own."""
    n = int(labels.max(initial=0))
    backwards = np.flatnonzero(labels)[::-1]
    firsts = np.zeros(n + 1, dtype=np.int64)
    firsts[labels.ravel()[backwards]] = backwards  # the first pixel is written last
    y, x = np.divmod(firsts[1:], labels.shape[1])
    found.firsts.append((y + corner_yx[0]) * width + x + corner_yx[1])
    labels = np.where(labels > 0, labels + np.int32(found.n), 0)
    found.n += n
    return labels


def _fill_holes(out: Sliced, found: _Found, max_px: int, stripe_px: int) -> None:
    """Fill holes within stripes, then those of instances across their edges."""
    if max_px == 0:
        return
    for rows in _stripes(out.shape[0], stripe_px):
        out[rows, :] = fill_holes(np.asarray(out[rows, :]), max_px)
    for box in found.boxes:
        out[box] = fill_holes(np.asarray(out[box]), max_px)


def _renumber(out: Sliced, found: _Found, min_area_px: int, stripe_px: int) -> int:
    """Drop small instances and number the others in order of their first pixels."""
    areas = np.zeros(found.n + 1, dtype=np.int64)
    if min_area_px > 1:
        for rows in _stripes(out.shape[0], stripe_px):
            count_areas(np.ascontiguousarray(out[rows, :], dtype=np.uint32).reshape(-1), areas)
    is_kept = areas[1:] >= min_area_px if min_area_px > 1 else np.ones(found.n, dtype=np.bool_)
    order = np.argsort(np.concatenate([*found.firsts, np.zeros(0, dtype=np.int64)]), kind="stable")
    new_ids = np.zeros(found.n + 1, dtype=np.int32)
    new_ids[1 + order] = np.where(is_kept[order], np.cumsum(is_kept[order]), 0)
    for rows in _stripes(out.shape[0], stripe_px):
        out[rows, :] = new_ids[np.asarray(out[rows, :])]
    return int(is_kept.sum())


def _decode_object(
    codec: Codec, planes: Sliced, decode: DecodeSettings, postprocess: PostprocessSettings, out: Sliced, stripe_px: int
) -> int:
    """Decode all of the mask as one instance."""
    if postprocess.fill_holes_px:
        raise ConfigError(
            "postprocess.fill_holes_px with decode.single_object needs the image in one piece, as its only instance "
            "may extend anywhere: set it to 0"
        )
    n_px = 0
    for rows in _stripes(out.shape[0], stripe_px):
        labels = codec.decode(_read(planes, rows), decode)
        n_px += int(np.count_nonzero(labels))
        out[rows, :] = labels
    if n_px >= max(postprocess.min_area_px, 1):
        return 1
    for rows in _stripes(out.shape[0], stripe_px):
        out[rows, :] = 0
    return 0
