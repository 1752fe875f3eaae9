"""What one gets without a network: background subtraction, Otsu's threshold, watershed of the distance transform.

The demo measures itself against this, and so should any recipe.

References
----------
.. [1] Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979).
"""

import cv2
import numpy as np
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.types import Image, Labels


def segment_classically(image: Image, *, background_sigma_px: float = 25.0, min_distance_px: int = 5) -> Labels:
    """Segment bright objects without learning.

    Parameters
    ----------
    image : uint8 array, shape (H, W)
        Bright objects on a dark ground.
    background_sigma_px : float
        Light that changes over more than this is taken for background and subtracted.
    min_distance_px : int
        Least distance between the centres of two objects.

    Returns
    -------
    labels : int32 array, shape (H, W)
        Instances; none if the image is constant.

    Notes
    -----
    A foreground component without a peak of its own stays one object.
    """
    smooth = gaussian(image.astype(np.float32), 1)
    flat = smooth - gaussian(smooth, background_sigma_px)
    if np.ptp(flat) == 0:
        return np.zeros(image.shape, np.int32)
    foreground = flat > threshold_otsu(flat)
    depth = cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    peaks = peak_local_max(depth, min_distance=min_distance_px, labels=components(foreground), exclude_border=False)
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return relabel(watershed(-depth, markers, mask=foreground))
