"""Images of differing sizes, one after the other in one tensor, and views of many of them at once.

cv2's arithmetic is followed step by step: places and mixtures in 32-bit floats, rounded once, to even.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Pixels:
    """Images or labels, flat."""

    def __init__(self, arrays: Sequence[NDArray[Any]], device: torch.device) -> None:
        shapes = np.array([(*array.shape, 1)[:3] for array in arrays], np.int64)
        ends = np.cumsum(shapes.prod(axis=1))
        self.n_channels = int(shapes[:, 2].max())
        self._values = torch.from_numpy(np.concatenate([array.ravel() for array in arrays])).to(device)
        # By number, and of shape (n, 1, 1): offset, height, width, channels.
        table = np.column_stack([np.concatenate([[0], ends[:-1]]), shapes])
        self._table = torch.from_numpy(table).to(device)[:, :, None, None]

    def mix(self, numbers: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Show views, mixing the four nearest pixels."""
        x, y = rows.unsqueeze(-1).add(columns.unsqueeze(-2)).unbind(1)
        left, top = x.floor(), y.floor()
        above, below = (self._between(numbers, left.long(), row, x - left) for row in (top.long(), top.long() + 1))
        return above.add_((y - top)[:, None] * below.sub_(above)).round_()

    def nearest(self, numbers: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Show views, taking the nearest pixel."""
        x, y = rows.unsqueeze(-1).add(columns.unsqueeze(-2)).round_().long().unbind(1)
        return self._values[self._places(numbers, x, y)]

    def _between(self, numbers: Tensor, x: Tensor, y: Tensor, share: Tensor) -> Tensor:
        """Mix two neighbours of a row; float32, shape (B, n_channels, H, W)."""
        pair = torch.stack([self._places(numbers, x, y), self._places(numbers, x + 1, y)])
        last = self._table[numbers, 3] - 1
        channels = [self._values[pair + last.clamp(max=channel)].float() for channel in range(self.n_channels)]
        one, other = torch.stack(channels, 2)
        mixed: Tensor = other.sub_(one).mul_(share[:, None]).add_(one)
        return mixed

    def _places(self, numbers: Tensor, x: Tensor, y: Tensor) -> Tensor:
        offset, height, width, channels = self._table[numbers].unbind(1)
        return offset + (mirror(y, height) * width + mirror(x, width)) * channels


def mirror(places: Tensor, sizes: Tensor) -> Tensor:
    """Mirror places at both ends of an axis, without repeating the last pixel.

    >>> mirror(torch.arange(-2, 6), torch.tensor(3)).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = (2 * (sizes - 1)).clamp(min=1)
    steps = places.remainder(period)
    return torch.minimum(torch.minimum(steps, period - steps), sizes - 1)
