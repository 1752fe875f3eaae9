"""Components of a mask that is seen stripe by stripe: those that reach a stripe's edge, joined across it."""

from dataclasses import dataclass, field

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from kaggle_unet.types import Labels


@dataclass
class Piece:
    """A component, or what is known of it so far."""

    top: int
    left: int
    bottom: int
    right: int
    first_yx: tuple[int, int]

    def take(self, other: "Piece") -> None:
        """Grow by another piece of the same component."""
        self.top, self.left = min(self.top, other.top), min(self.left, other.left)
        self.bottom, self.right = max(self.bottom, other.bottom), max(self.right, other.right)
        self.first_yx = min(self.first_yx, other.first_yx)


@dataclass
class Pieces:
    """Joins pieces of components, stripe after stripe, from the top."""

    _pieces: list[Piece] = field(default_factory=list)
    _parents: list[int] = field(default_factory=list)
    _last_row: NDArray[np.int64] | None = None

    def add(self, labels: Labels, is_at_edge: NDArray[np.bool_], top: int) -> None:
        """Take the next stripe."""
        indices = np.full(len(is_at_edge), -1, dtype=np.int64)
        boxes = scipy.ndimage.find_objects(np.where(is_at_edge[labels], labels, 0))
        for label in np.flatnonzero(is_at_edge).tolist():
            rows, columns = boxes[label - 1]
            first_x = columns.start + int((labels[rows.start, columns] == label).argmax())
            indices[label] = len(self._pieces)
            self._parents.append(len(self._pieces))
            self._pieces.append(
                Piece(top + rows.start, columns.start, top + rows.stop, columns.stop, (top + rows.start, first_x))
            )
        first_row = indices[labels[0]]
        if self._last_row is not None:
            for upper, lower in _touching(self._last_row, first_row):
                self._join(upper, lower)
        self._last_row = indices[labels[-1]]

    def components(self) -> list[Piece]:
        """Join what belongs together."""
        whole: dict[int, Piece] = {}
        for index, piece in enumerate(self._pieces):
            root = self._root(index)
            if root in whole:
                whole[root].take(piece)
            else:
                whole[root] = piece
        return list(whole.values())

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def _join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parents[max(one, other)] = min(one, other)


def _touching(upper: NDArray[np.int64], lower: NDArray[np.int64]) -> list[tuple[int, int]]:
    """List the pairs of pieces that touch across a seam, corners included."""
    n = len(upper)
    pairs = [
        np.stack([upper[max(0, -step) : n - max(0, step)], lower[max(0, step) : n - max(0, -step)]])
        for step in (-1, 0, 1)
    ]
    both = np.concatenate(pairs, axis=1)
    both = np.unique(both[:, (both >= 0).all(axis=0)], axis=1)
    return [(int(one), int(other)) for one, other in both.T]
