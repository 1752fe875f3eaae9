"""What one gets without a network: background subtraction, Otsu's threshold, watershed of the distance transform.

The demo measures itself against this, and so should any recipe.

References
----------
.. [1] Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979).
"""

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes, minimum_filter
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess.clean import clean
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.types import Image, Labels


def segment_classically(
    image: Image, *, background_px: int = 31, min_distance_px: int = 6, min_area_px: int = 20
) -> Labels:
    """Segment bright objects without learning.

    A foreground component without a peak of its own stays one object.
    """
    smooth = gaussian(image.astype(np.float32), 1)
    flat = smooth - gaussian(minimum_filter(smooth, background_px), background_px / 2)
    if np.ptp(flat) == 0:
        return np.zeros(image.shape, np.int32)
    foreground = binary_fill_holes(flat > threshold_otsu(flat))
    depth = cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    peaks = peak_local_max(depth, min_distance=min_distance_px, labels=components(foreground), exclude_border=False)
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-depth, markers, mask=foreground)
    return clean(labels, PostprocessSettings(min_area_px=min_area_px))
