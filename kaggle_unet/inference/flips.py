"""Flips for test-time augmentation: the eight symmetries of the square, each with its inverse.

Each is at most one transposition followed by at most two reversals, and is undone by the reversals followed by the
transposition. One table holds them all.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Flip:
    """One symmetry of the square, acting on the last two axes of tensors.

    Rows and columns are swapped first if `is_transposed`, then `axes` are reversed: −2 upside down, −1 left to right.
    """

    name: str
    is_transposed: bool
    axes: tuple[int, ...]

    def apply(self, grid: Tensor) -> Tensor:
        """Move pixels (..., H, W) to where the symmetry takes them.

        >>> import torch
        >>> FLIPS["rotate_90"].apply(torch.tensor([[1, 2], [3, 4]])).tolist()
        [[2, 4], [1, 3]]
        """
        grid = grid.swapaxes(-1, -2) if self.is_transposed else grid
        return grid.flip(self.axes) if self.axes else grid

    def undo(self, grid: Tensor) -> Tensor:
        """Move pixels back to where they came from."""
        grid = grid.flip(self.axes) if self.axes else grid
        return grid.swapaxes(-1, -2) if self.is_transposed else grid


FLIPS = {
    flip.name: flip
    for flip in (
        Flip("identity", is_transposed=False, axes=()),
        Flip("left_right", is_transposed=False, axes=(-1,)),
        Flip("upside_down", is_transposed=False, axes=(-2,)),
        Flip("rotate_180", is_transposed=False, axes=(-2, -1)),
        Flip("transpose", is_transposed=True, axes=()),
        Flip("rotate_270", is_transposed=True, axes=(-1,)),
        Flip("rotate_90", is_transposed=True, axes=(-2,)),  # counterclockwise, as numpy.rot90
        Flip("anti_transpose", is_transposed=True, axes=(-2, -1)),
    )
}

FLIP_SETS: dict[Literal["none", "horizontal", "d4"], tuple[Flip, ...]] = {
    "none": (FLIPS["identity"],),
    "horizontal": (FLIPS["identity"], FLIPS["left_right"]),
    "d4": tuple(FLIPS.values()),
}
