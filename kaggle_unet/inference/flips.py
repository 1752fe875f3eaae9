"""The eight symmetries of the square, each with its way back.

Each is at most one transposition followed by at most two flips, and is undone by the flips followed by the
transposition. One table holds them all, for numpy arrays and tensors alike.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Grid = TypeVar("Grid", NDArray[Any], torch.Tensor)


@dataclass(frozen=True)
class Flip:
    """One symmetry of the square, acting on the last two axes.

    Attributes
    ----------
    name : str
        For people.
    is_transposed : bool
        Whether rows and columns change places first.
    axes : tuple of int
        Which axes are then reversed: −2 upside down, −1 left to right.
    """

    name: str
    is_transposed: bool
    axes: tuple[int, ...]

    def apply(self, grid: Grid) -> Grid:
        """Move pixels to where the symmetry takes them.

        Parameters
        ----------
        grid : array or tensor, shape (..., H, W)
            Any dtype.

        Returns
        -------
        grid : array or tensor, shape (..., H, W) or (..., W, H)
            The latter where the symmetry is transposed.

        Examples
        --------
        >>> FLIPS["rotate_90"].apply(np.array([[1, 2], [3, 4]])).tolist()
        [[2, 4], [1, 3]]
        """
        if self.is_transposed:
            grid = grid.swapaxes(-1, -2)
        return _reverse(grid, self.axes)

    def undo(self, grid: Grid) -> Grid:
        """Move pixels back to where they came from.

        Parameters
        ----------
        grid : array or tensor, shape (..., H, W)
            What `apply` gave, or a network made of it.

        Returns
        -------
        grid : array or tensor, shape (..., H, W) or (..., W, H)
            The latter where the symmetry is transposed.
        """
        grid = _reverse(grid, self.axes)
        return grid.swapaxes(-1, -2) if self.is_transposed else grid


def _reverse(grid: Grid, axes: tuple[int, ...]) -> Grid:
    if isinstance(grid, torch.Tensor):
        return torch.flip(grid, axes) if axes else grid
    return np.flip(grid, axes)


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

VIEWS: dict[Literal["none", "horizontal", "d4"], tuple[Flip, ...]] = {
    "none": (FLIPS["identity"],),
    "horizontal": (FLIPS["identity"], FLIPS["left_right"]),
    "d4": tuple(FLIPS.values()),
}
