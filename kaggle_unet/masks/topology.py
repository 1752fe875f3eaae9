"""In how many pieces instances are, and how many holes they have."""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels.topology import count_parts
from kaggle_unet.types import Labels


def count_pieces_and_holes(labels: Labels) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Count the pieces and the holes of every instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.

    Returns
    -------
    pieces : int32 array, shape (n + 1,)
        8-connected components by id; 0 for background and ids that are missing.
    holes : int32 array, shape (n + 1,)
        4-connected regions of anything else that one instance encloses. What lies outside the image's edge is not
        enclosed.

    Examples
    --------
    >>> import numpy as np
    >>> ring = np.array([[1, 1, 1, 0, 2], [1, 0, 1, 0, 0], [1, 1, 1, 0, 2]], dtype=np.int32)
    >>> count_pieces_and_holes(ring)
    (array([0, 1, 2], dtype=int32), array([0, 1, 0], dtype=int32))
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    n = int(labels.max(initial=0))
    pieces, quads = np.zeros(n + 1, dtype=np.int32), np.zeros(n + 1, dtype=np.int32)
    count_parts(labels, np.empty(labels.size, dtype=np.int32), pieces, quads)
    return pieces, pieces - quads // 4
