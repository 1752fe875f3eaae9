"""The highest and the lowest id in a square window round every pixel: who is near."""

import numpy as np

from kaggle_unet.kernels.window import scan_columns, scan_rows
from kaggle_unet.types import Labels

# What `scan_window` gives as the lowest id where no instance is near: above every id.
NOBODY = int(np.iinfo(np.int32).max)


def scan_window(labels: Labels, radius_px: int, *, with_background: bool) -> tuple[Labels, Labels]:
    """Find the highest and the lowest id in the window round every pixel.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    radius_px : int
        The window is (2·radius + 1)² pixels, cut at the image's edge.
    with_background : bool
        Whether background counts as id 0, or is overlooked.

    Returns
    -------
    highest, lowest : int32 array, shape (H, W)
        They differ where the window holds two different ids. With background overlooked and no instance near, they are
        0 and `NOBODY`.

    Examples
    --------
    >>> import numpy as np
    >>> scan_window(np.array([[0, 0, 3, 5]], dtype=np.int32), 1, with_background=True)
    (array([[0, 3, 5, 5]], dtype=int32), array([[0, 0, 0, 3]], dtype=int32))
    """
    high = np.ascontiguousarray(labels, dtype=np.int32)
    low = high if with_background else np.where(high > 0, high, NOBODY).astype(np.int32)
    by_column = np.empty_like(high), np.empty_like(high)
    by_window = np.empty_like(high), np.empty_like(high)
    scan_columns(high, low, radius_px, *by_column)
    scan_rows(*by_column, radius_px, *by_window)
    return by_window
