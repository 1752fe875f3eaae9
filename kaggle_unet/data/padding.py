"""Mirrored borders, for networks that take only certain sizes, and the way back.

The mirror includes the edge pixel (numpy's `symmetric`), which works for every size: where an image is smaller than its
border it is mirrored again and again, and a single pixel becomes a constant.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError

Array = TypeVar("Array", bound=np.generic)
Slices = tuple[slice, slice]


def padded_shape(shape: tuple[int, int], multiple: int, *, margin: int = 0) -> tuple[int, int]:
    """Give the size an image must be padded to.

    >>> padded_shape((101, 128), 32)
    (128, 128)
    >>> padded_shape((388, 1), 16, margin=94)
    (576, 192)
    """
    height, width = (-(-(side + 2 * margin) // multiple) * multiple for side in shape)
    return height, width


def pad_to(inputs: NDArray[Array], size: int | tuple[int, int]) -> tuple[NDArray[Array], Slices]:
    """Mirror an image's borders until it has a size.

    >>> padded, slices = pad_to(np.array([[1, 2, 3]]), (1, 6))
    >>> padded
    array([[1, 1, 2, 3, 3, 2]])
    >>> crop(padded, slices)
    array([[1, 2, 3]])
    """
    height, width = inputs.shape[-2:]
    wanted = padded_shape((height, width), size) if isinstance(size, int) else size
    if wanted[0] < height or wanted[1] < width:
        msg = (
            f"an image of {height} × {width} can't be padded to {wanted[0]} × {wanted[1]}; cut it first, or pad to more"
        )
        raise ConfigError(msg)
    top, left = (wanted[0] - height) // 2, (wanted[1] - width) // 2
    around = ((top, wanted[0] - height - top), (left, wanted[1] - width - left))
    padded = np.pad(inputs, ((0, 0),) * (inputs.ndim - 2) + around, mode="symmetric")
    return padded, (slice(top, top + height), slice(left, left + width))


def crop(planes: NDArray[Array], slices: Slices) -> NDArray[Array]:
    """Cut the image out of its borders."""
    rows, columns = slices
    inside: NDArray[Any] = planes[..., rows, columns]
    return inside
