"""Flips for test-time augmentation: the eight symmetries of the square, each with its inverse.

Each is at most one transposition followed by at most two reversals, and is undone in the opposite order.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Flip:
    """One symmetry of the square: rows and columns are swapped if `is_transposed`, then `axes` are reversed."""

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


FLIPS = {  # axis −2 is reversed upside down, −1 left to right
    "identity": Flip(is_transposed=False, axes=()),
    "left_right": Flip(is_transposed=False, axes=(-1,)),
    "upside_down": Flip(is_transposed=False, axes=(-2,)),
    "rotate_180": Flip(is_transposed=False, axes=(-2, -1)),
    "transpose": Flip(is_transposed=True, axes=()),
    "rotate_270": Flip(is_transposed=True, axes=(-1,)),
    "rotate_90": Flip(is_transposed=True, axes=(-2,)),  # counterclockwise, as numpy.rot90
    "anti_transpose": Flip(is_transposed=True, axes=(-2, -1)),
}

FLIP_SETS: dict[Literal["none", "horizontal", "d4"], tuple[Flip, ...]] = {
    "none": (FLIPS["identity"],),
    "horizontal": (FLIPS["identity"], FLIPS["left_right"]),
    "d4": tuple(FLIPS.values()),
}
