"""Decoding of large planes a stripe of rows at a time: in less memory, with the same instances as in one piece.

Components of the mask are decoded independently of each other. Those inside a stripe are decoded with it; those that
reach its edge are joined with their continuations, and each is then decoded in its own bounding box.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from kaggle_unet.kernels.labels import renumber_in_raster_order
from kaggle_unet.masks.labels import components, whole_rows
from kaggle_unet.postprocess.clean import fill_holes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Sliced

_MORE_PX = 64  # rows that are added to a window until its objects are whole


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
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self._pairs], axis=1)
        upper, lower = pairs.astype(np.int32)  # scipy 1.11 accepts no other type
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


def decode_large(
    codec: Codec,
    planes: Sliced,
    settings: DecodeSettings,
    cleaning: PostprocessSettings,
    *,
    out: Labels | None = None,
    stripe_px: int = 1024,
) -> Labels:
    """Decode planes (C, H, W) as `Codec.decode` does, and clean the labels, a stripe of rows at a time.

    Besides the labels, which may lie in a file (`out`, zeros), this takes the memory of one stripe, or of the box of
    the largest component that crosses a seam.
    """
    height, width = planes.shape[1:]
    labels = np.zeros((height, width), dtype=np.int32) if out is None else out
    stripes = [slice(top, min(top + stripe_px, height)) for top in range(0, height, stripe_px)]
    n, crossing = 0, SeamComponents()
    for rows in stripes:
        stripe = np.array(planes[:, rows], dtype=np.float32)
        parts = components(codec.find_mask(stripe, settings))
        is_at_edge = np.zeros(int(parts.max(initial=0)) + 1, dtype=np.bool_)
        is_at_edge[parts[0]] |= rows.start > 0
        is_at_edge[parts[-1]] |= rows.stop < height
        is_at_edge[0] = False
        crossing.add(parts, is_at_edge, rows.start)
        stripe[:, is_at_edge[parts]] = 0  # below every threshold, so there is no mask
        n = _add_instances(codec.decode(stripe, settings), n, labels[rows])
    boxes = [(rows, slice(0, width)) for rows in stripes]
    for top, left, bottom, right, (y, x) in crossing.join():
        boxes.append((slice(top, bottom), slice(left, right)))
        box = np.array(planes[:, *boxes[-1]], dtype=np.float32)
        parts = components(codec.find_mask(box, settings))
        box[:, parts != parts[y - top, x - left]] = 0
        n = _add_instances(codec.decode(box, settings), n, labels[boxes[-1]])
    for where in boxes if cleaning.fill_holes_px else ():  # a hole lies inside its instance's box
        labels[where] = fill_holes(labels[where], cleaning.fill_holes_px)
    areas_px = sum((np.bincount(labels[rows].ravel(), minlength=n + 1) for rows in stripes), np.zeros(n + 1, np.int64))
    new_ids = np.where(areas_px < cleaning.min_area_px, np.int32(-1), np.int32(0))
    new_ids[0] = 0
    renumber_in_raster_order(whole_rows(labels.shape), labels, new_ids)
    return labels


def _add_instances(found: Labels, n: int, labels: Labels) -> int:
    """Add instances to a part of the labels, numbered after the n so far, and return the new total."""
    np.copyto(labels, found + np.int32(n), where=found > 0)
    return n + int(found.max(initial=0))


class Window(NamedTuple):
    """Rows that contain some objects entirely: those with ids above `first`, up to `last`."""

    top: int
    bottom: int
    first: int
    last: int

    def read(self, labels: Sliced) -> Labels:
        """Read the window's own objects, numbered from 1."""
        found = np.array(labels[self.top : self.bottom])
        found[(found <= self.first) | (found > self.last)] = self.first
        found -= np.int32(self.first)
        return found


def plan_windows(labels: Sliced, height_px: int) -> Iterator[Window]:
    """Divide rows into windows with the objects that begin in them.

    Ids rise with the objects' first pixels, so those of a window follow those of the window above.
    """
    first, height = 0, labels.shape[0]
    for top in range(0, height, height_px):
        last = max(first, int(labels[top : top + height_px].max(initial=0)))
        bottom = min(top + height_px, height)
        while bottom < height and ((labels[bottom - 1] > first) & (labels[bottom - 1] <= last)).any():
            bottom = min(bottom + _MORE_PX, height)
        yield Window(top, bottom, first, last)
        first = last
