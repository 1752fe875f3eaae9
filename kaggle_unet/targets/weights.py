"""Weight maps: factors of each pixel's cross-entropy."""

from collections.abc import Mapping
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.kernels.nearest import BLOCK_PX, exponents, find_two_nearest
from kaggle_unet.masks.labels import check_dense_labels, check_mask, measure_labels, refuse_ids, to_labels
from kaggle_unet.targets.border import keep_one_seed_pixel, mark_border
from kaggle_unet.targets.codecs import Codec, encode_targets, get_codec
from kaggle_unet.targets.settings import (
    BorderSettings,
    CodecName,
    CodecSettings,
    DistanceWeight,
    SizeWeight,
    WeightSettings,
)
from kaggle_unet.types import IGNORED_CLASS, Labels, Mask, Planes, Weights

# Weights that a float32 near 1 cannot hold are 0, as are those below this fraction of a w0 below 1.
_RESOLUTION = 2**-24


def weight_map(
    labels: ArrayLike,
    settings: WeightSettings | Mapping[str, Any],
    *,
    codec: CodecName | Codec = "interior_border_background",
    planes: Planes | None = None,
    ignore: Mask | None = None,
) -> Weights:
    """Combine all weights of an image: ignore · min(class · size + distance, cap).

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances 1…n, 0 is background.
    settings : WeightSettings or mapping
        The weights, and their cap.
    codec : str, default: "interior_border_background"
        The codec whose classes `settings.classes` names.
    planes : float32 array, shape (C, H, W), optional
        The codec's targets for these labels, which class weights need; made here with borders of 1 px by default.
    ignore : bool array, shape (H, W), optional
        Pixels that must not count in the loss; their weight is 0.

    Returns
    -------
    float32 array, shape (H, W)
        The factor of each pixel's cross-entropy; 1 everywhere if no weight is set.

    Raises
    ------
    DataError
        If the array is not labels, or `ignore` is not a mask of their shape.
    ConfigError
        If a class is named that the codec lacks, or sizes are weighted without a reference area.

    Examples
    --------
    >>> import numpy as np
    >>> from kaggle_unet.targets.settings import DistanceWeight
    >>> settings = WeightSettings(distance=DistanceWeight(w0=1, sigma_px=2), classes={"interior": 3})
    >>> weight_map(np.array([[1, 0, 2]], dtype=np.int32), settings).round(3)
    array([[3.   , 1.607, 3.   ]], dtype=float32)
    """
    labels, settings = check_dense_labels(labels)[0], WeightSettings.of(settings)
    weights: Weights = np.ones(labels.shape, dtype=np.float32)
    if settings.classes:
        names = get_codec(codec).classes
        if unknown := sorted(set(settings.classes) - set(names)):
            raise ConfigError(f"weights.classes names {', '.join(unknown)}, but the codec has {', '.join(names)}")
        targets = encode_targets(labels, codec) if planes is None else get_codec(codec).check_planes(planes)
        if targets.shape[1:] != labels.shape:
            raise DataError(f"planes of shape {targets.shape} for labels of {labels.shape}; expected targets of these")
        classes = get_codec(codec).classify(targets)
        weights = np.array([settings.classes.get(name, 1) for name in names], dtype=np.float32).take(classes)
    if settings.size is not None:
        weights = weights * size_weights(labels, **dict(settings.size))
    if settings.distance is not None:
        weights = weights + distance_weights(labels, **dict(settings.distance))
    weights = np.minimum(weights, np.float32(settings.cap))
    if ignore is not None:
        weights[check_mask(ignore, "ignore", (labels.shape[0], labels.shape[1]))] = 0
    return weights


def encode_with_weights(
    labels: Labels, codec: CodecSettings, weights: WeightSettings, ignore: Mask | None = None
) -> tuple[Planes, Weights]:
    """Encode labels, and make the weight map that belongs to their planes."""
    encoder = get_codec(codec)
    planes = encoder.encode(labels, codec.border)
    if encoder.is_semantic and (unknown := labels == IGNORED_CLASS).any():
        ignore = unknown if ignore is None else unknown | ignore
    return planes, weight_map(labels, weights, codec=encoder, planes=planes, ignore=ignore)


def distance_weights(
    labels: ArrayLike, *, w0: float = 10.0, sigma_px: float = 5.0, separate_touching: bool = False
) -> Weights:
    """Compute distance weights for background between close instances: w0·exp(−(d1 + d2)² / (2σ²)).

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances 1…n, 0 is background.
    w0 : float, default: 10
        The weight where d1 + d2 would be 0.
    sigma_px : float, default: 5
        The σ of the U-Net paper. Kits derived from neptune's write exp(−(d1 + d2)² / σ²): their σ is √2 times this one.
    separate_touching : bool, default: False
        Whether pixels that touch another instance count as background, like the lines by which the paper separates
        cells; every instance keeps a pixel.

    Returns
    -------
    float32 array, shape (H, W)
        0 inside instances, up to w0 on background; also 0 where it would be below 2⁻²⁴ (2⁻²⁴·w0 if w0 < 1),
        which a float32 next to a weight of 1 can't hold.

    Notes
    -----
    d1 and d2 are the exact Euclidean distances, pixel centre to pixel centre, to the nearest and to the second nearest
    instance; the weights have a relative error below three millionths. With fewer than two instances d2 is
    infinite and every weight 0.

    Memory is 12 bytes per pixel besides the labels, for any number of instances; time grows with the pixels and σ.

    References
    ----------
    .. [1] Ronneberger et al., U-Net, MICCAI 2015, equation 2, https://arxiv.org/abs/1505.04597

    Examples
    --------
    The middle pixel has d1 = d2 = 1:

    >>> import numpy as np
    >>> distance_weights(np.array([[1, 0, 2]], dtype=np.int32), w0=1, sigma_px=2).round(3)
    array([[0.   , 0.607, 0.   ]], dtype=float32)
    >>> distance_weights(np.array([[1, 1, 2, 2]], dtype=np.int32), separate_touching=True).round(2)
    array([[0.  , 8.35, 8.35, 0.  ]], dtype=float32)
    """
    if separate_touching:
        labels, highest = check_dense_labels(labels)
        labels = np.where(keep_one_seed_pixel(labels, mark_border(labels, BorderSettings()), highest), 0, labels)
    labels = to_labels(labels)
    DistanceWeight(w0=w0, sigma_px=sigma_px)  # refuses what is not above 0
    exponent_least = log(_RESOLUTION / max(w0, 1))
    reach_px = min(sigma_px * sqrt(-2 * exponent_least), 2.0 * sum(labels.shape))  # no two distances sum to more
    weights = np.empty(labels.shape, dtype=np.float32)
    exponents(two_nearest_squares(labels, reach_px=reach_px), -1 / (2 * sigma_px**2), reach_px, weights)
    np.exp(weights, out=weights)
    weights *= np.float32(w0)
    return weights


def two_nearest_squares(labels: Labels, *, reach_px: float) -> NDArray[np.signedinteger]:
    """Compute the squared distances from background to the nearest and the second nearest instance."""
    n_y, n_x = labels.shape
    far, margin = int(reach_px) + 1, min(int(reach_px), n_x)
    dtype = np.int16 if 2 * far**2 <= np.iinfo(np.int16).max else np.int64
    ids, rows = np.zeros((n_y, n_x), dtype=np.int32), np.full((2, n_y, n_x), far, dtype=dtype)
    seen_ids, seen = np.empty(n_x, dtype=np.int32), np.empty((2, n_x), dtype=dtype)
    row_ids = np.zeros(n_x + 2 * margin, dtype=np.int32)
    row = np.full((2, n_x + 2 * margin), far**2, dtype=dtype)
    block_ids = np.empty(BLOCK_PX, dtype=np.int32)
    if find_two_nearest(labels, reach_px, seen_ids, seen, ids, rows, row_ids, row, block_ids) < 0:
        refuse_ids(labels)
    return rows


def size_weights(
    labels: ArrayLike, *, reference_area_px: float | None, gamma: float = 0.5, lo: float = 0.5, hi: float = 4.0
) -> Weights:
    """Weight small instances more: clip((A0 / area)^gamma, lo, hi) inside, 1 on background.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances 1…n, 0 is background.
    reference_area_px : float
        A0, the area that weighs 1; the median of the training set is a good choice.
    gamma, lo, hi : float
        Exponent, and the bounds of the weight.

    Returns
    -------
    float32 array, shape (H, W)
        One weight per instance.

    Raises
    ------
    DataError
        If the array is not labels.
    ConfigError
        If a number is not above 0, or the reference area is None: one image does not tell a training set's median.

    Notes
    -----
    An instance cut by the image's edge counts with its visible area.

    Examples
    --------
    >>> import numpy as np
    >>> size_weights(np.array([[0, 1, 2, 2, 2, 2]], dtype=np.int32), reference_area_px=4)
    array([[1., 2., 1., 1., 1., 1.]], dtype=float32)
    """
    if reference_area_px is None:
        raise ConfigError(
            "weights.size.reference_area_px is not set, and one image does not determine the training set's median "
            "area: set it, or make the targets with make-targets, which measures it"
        )
    SizeWeight(reference_area_px=reference_area_px, gamma=gamma, lo=lo, hi=hi)  # refuses what is not above 0
    labels, areas = measure_labels(labels)
    areas = np.maximum(areas, 1)  # ids that are missing have no area and no pixel
    weights = np.clip((reference_area_px / areas) ** gamma, lo, hi)
    weights[0] = 1
    return np.asarray(weights[labels], dtype=np.float32)
