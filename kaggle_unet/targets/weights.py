"""Weight maps: what the cross-entropy of every pixel is multiplied with."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError
from kaggle_unet.kernels.nearest import FAR, find_two_nearest, scan_two_nearest
from kaggle_unet.masks.labels import areas_px
from kaggle_unet.targets.settings import DistanceWeight, SizeWeight, WeightSettings
from kaggle_unet.types import Labels, Mask, Weights

# Distances at which a weight falls below this share of w0 are not worth searching.
_NEGLIGIBLE = 1e-8


def weight_map(
    labels: Labels,
    classes: NDArray[np.uint8],
    class_names: Sequence[str],
    settings: WeightSettings,
    *,
    ignore: Mask | None = None,
) -> Weights:
    """Combine all weights of a sample: ignore · min(class · size + distance, cap).

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    classes : uint8 array, shape (H, W)
        Every pixel's class, as a codec's `classify` gives it.
    class_names : sequence of str
        The codec's `classes`, which `classes` points into.
    settings : WeightSettings
        Which maps, and their parameters.
    ignore : bool array, shape (H, W), optional
        Pixels that must not count: their weight is 0.

    Returns
    -------
    float32 array, shape (H, W)
        0 or more; all 1 for settings that name no map.

    Raises
    ------
    ConfigError
        If a class is weighted that the codec doesn't have, or a size weight has no reference area.
    """
    weights = _class_weight(classes, class_names, settings)
    if settings.size is not None:
        weights = weights * size_weight(labels, settings.size)
    if settings.distance is not None:
        weights = weights + distance_weight(labels, settings.distance)
    weights = np.minimum(weights, np.float32(settings.cap))
    if ignore is not None:
        weights[ignore] = 0
    return weights


def distance_weight(labels: Labels, settings: DistanceWeight) -> Weights:
    """Weigh the background between instances that are close: w0·exp(−(d1 + d2)² / (2σ²)).

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    settings : DistanceWeight
        The w0 and σ of the U-Net paper.

    Returns
    -------
    float32 array, shape (H, W)
        0 inside instances, on background up to w0. Exactly 0 where it would be below 1e-8·w0.

    Notes
    -----
    d1 and d2 are the exact Euclidean distances, pixel centre to pixel centre, to the nearest and to the second nearest
    instance. With fewer than two instances d2 is infinite and every weight 0. Other conventions are other numbers here:
    exp(−d²/σ²) is this with σ/√2.

    References
    ----------
    .. [1] Ronneberger et al., U-Net, MICCAI 2015, equation 2, https://arxiv.org/abs/1505.04597

    Examples
    --------
    The middle pixel has d1 = d2 = 1:

    >>> import numpy as np
    >>> distance_weight(np.array([[1, 0, 2]], dtype=np.int32), DistanceWeight(w0=1, sigma_px=2)).round(3)
    array([[0.   , 0.607, 0.   ]], dtype=float32)
    """
    limit_px = settings.sigma_px * sqrt(-2 * log(_NEGLIGIBLE))
    squares = two_nearest_squares(labels, reach_px=limit_px)
    distances_px = np.sqrt(squares[0]) + np.sqrt(squares[1])
    weights = settings.w0 * np.exp(-((distances_px / settings.sigma_px) ** 2) / 2)
    weights[distances_px > limit_px] = 0
    return np.asarray(weights, dtype=np.float32)


def two_nearest_squares(labels: Labels, *, reach_px: float) -> NDArray[np.int64]:
    """Compute the squared distances from background to the nearest and the second nearest instance.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    reach_px : float
        Pairs of instances whose two distances sum to more need not be found.

    Returns
    -------
    int64 array, shape (2, H, W)
        Squares in px², exact where the two distances sum to at most `reach_px`; elsewhere they may be larger, and are
        2⁶⁰ where none was found, and inside instances.
    """
    shape = (2, *labels.shape)
    ids, distances_px = np.zeros(shape, dtype=np.int32), np.full(shape, FAR, dtype=np.int64)
    scan_two_nearest(np.ascontiguousarray(labels, dtype=np.int32), ids, distances_px)
    nearest_ids, squares = np.zeros(shape, dtype=np.int32), np.full(shape, FAR * FAR, dtype=np.int64)
    find_two_nearest(ids, distances_px, reach_px, nearest_ids, squares)
    return squares


def size_weight(labels: Labels, settings: SizeWeight) -> Weights:
    """Weigh small instances more: clip((A0 / area)^gamma, lo, hi) inside, 1 on background.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances 1…n, 0 is background.
    settings : SizeWeight
        Exponent, bounds and the reference area A0.

    Returns
    -------
    float32 array, shape (H, W)
        One weight per instance.

    Raises
    ------
    ConfigError
        If the reference area is None: the median of the training set is not known here.

    Notes
    -----
    An instance cut by the image's edge counts with the area that is seen.

    Examples
    --------
    >>> import numpy as np
    >>> size_weight(np.array([[0, 1, 2, 2, 2, 2]], dtype=np.int32), SizeWeight(reference_area_px=4))
    array([[1., 2., 1., 1., 1., 1.]], dtype=float32)
    """
    if settings.reference_area_px is None:
        raise ConfigError(
            "weights.size.reference_area_px is not set, and one image doesn't tell the training set's median area: "
            "set it, or make the targets with make-targets, which measures it"
        )
    areas = np.maximum(areas_px(labels), 1)  # ids that are missing have no area and no pixel
    weights = np.clip((settings.reference_area_px / areas) ** settings.gamma, settings.lo, settings.hi)
    weights[0] = 1
    return np.asarray(weights[labels], dtype=np.float32)


def _class_weight(classes: NDArray[np.uint8], class_names: Sequence[str], settings: WeightSettings) -> Weights:
    """Look up the weight of every pixel's class."""
    unknown = sorted(set(settings.classes) - set(class_names))
    if unknown:
        raise ConfigError(
            f"weights.classes names {', '.join(unknown)}, but the codec's classes are {', '.join(class_names)}"
        )
    return np.array([settings.classes.get(name, 1) for name in class_names], dtype=np.float32)[classes]
