"""Measurements of objects: scikit-image's region properties as a table, in pixels and in micrometres."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import check_labels, relabel
from kaggle_unet.types import DataFrame, PixelSize

_COLUMNS = {
    "label": "label", "area": "area_px", "centroid-0": "y_px", "centroid-1": "x_px", "bbox-0": "top_px",
    "bbox-1": "left_px", "bbox-2": "bottom_px", "bbox-3": "right_px", "perimeter": "perimeter_px",
    "eccentricity": "eccentricity", "solidity": "solidity",
}  # fmt: skip
_PROPERTIES = ("label", "area", "centroid", "bbox", "perimeter", "eccentricity", "solidity")
_INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max")


def measure(labels: ArrayLike, image: NDArray[Any] | None = None, *, pixel_size: PixelSize = None) -> DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Objects, 0 is background.
    image : array, shape (H, W) or (H, W, C), optional
        Pixel values, any numbers but complex ones, for the intensities; computed in float64.
    pixel_size : float or (float, float), optional
        Side of a pixel in micrometres, or its height and width.

    Returns
    -------
    DataFrame
        One row per object, by `label`: ``area_px``; the centroid ``y_px``, ``x_px``; the bounding box ``top_px``,
        ``left_px``, ``bottom_px``, ``right_px``, of which the last two lie outside; ``perimeter_px``, ``eccentricity``
        and ``solidity`` as scikit-image defines them [1]_. With an image, ``mean``, ``min``, ``max`` and ``sum``, for
        C channels ``mean_channel0`` and so on. With a pixel size, ``area_um2`` and the lengths again as ``…_um``,
        without the perimeter if pixels are not square.

    Raises
    ------
    DataError
        If the labels are faulty, or the image has another height or width.
    ConfigError
        If the pixel size is not positive.

    References
    ----------
    .. [1] https://scikit-image.org/docs/stable/api/skimage.measure.html#skimage.measure.regionprops

    Examples
    --------
    >>> labels = np.array([[1, 1, 0], [1, 1, 5]], np.int32)
    >>> table = measure(labels, np.array([[4, 0, 9], [0, 0, 7]]), pixel_size=0.5)
    >>> table[["label", "area_px", "x_px", "mean", "sum", "area_um2", "right_um"]]
       label  area_px  x_px  mean  sum  area_um2  right_um
    0      1        4   0.5   1.0    4      1.00       1.0
    1      5        1   2.0   7.0    7      0.25       1.5
    """
    from pandas import DataFrame
    from skimage.measure import regionprops_table

    given, _ = check_labels(labels)
    if not given.size:
        raise DataError(f"labels of shape {given.shape}; expected at least one pixel to measure")
    checked = relabel(given)  # scikit-image makes a list as long as the highest id
    table = DataFrame(regionprops_table(checked, properties=_PROPERTIES)).rename(columns=_COLUMNS)
    table = table.astype({"area_px": np.int64}).assign(label=np.unique(given[given > 0]))
    if image is not None:
        table = table.assign(**_intensities(checked, np.asarray(image), table["area_px"].to_numpy()))
    return table if pixel_size is None else table.assign(**_in_um(table, pixel_size))


def _intensities(labels: NDArray[np.int32], image: NDArray[Any], areas_px: NDArray[Any]) -> dict[str, NDArray[Any]]:
    from skimage.measure import regionprops_table

    if image.shape[:2] != labels.shape or image.ndim not in {2, 3}:
        raise DataError(f"the image has shape {image.shape}, the labels {labels.shape}; expected the same (H, W)")
    if image.dtype.kind not in "biuf":
        raise DataError(f"the image is {image.dtype}; expected numbers")
    columns: dict[str, NDArray[Any]] = {}
    for number, channel in enumerate(np.moveaxis(np.atleast_3d(image), 2, 0)):
        suffix = "" if image.ndim == 2 else f"_channel{number}"
        found = regionprops_table(labels, channel.astype(np.float64), properties=_INTENSITIES)
        mean, least, most = (found[name] for name in _INTENSITIES)
        columns |= {f"mean{suffix}": mean, f"min{suffix}": least, f"max{suffix}": most, f"sum{suffix}": mean * areas_px}
    if image.dtype.kind in "biu":  # whole numbers are printed in full, where int64 holds them
        whole = (name for name, found in columns.items() if "mean" not in name and (np.abs(found) < 2**63).all())
        columns |= {name: np.round(columns[name]).astype(np.int64) for name in whole}
    return columns


def sides_um(pixel_size: float | tuple[float, float]) -> tuple[float, float]:
    """Return a pixel's height and width."""
    try:
        height, width = map(float, np.broadcast_to(pixel_size, 2))
    except (TypeError, ValueError):
        height = width = np.nan
    if not (0 < height < np.inf and 0 < width < np.inf):
        raise ConfigError(f"the pixel size is {pixel_size}; expected micrometres above 0, or height and width")
    return height, width


def _in_um(table: DataFrame, pixel_size: float | tuple[float, float]) -> dict[str, Any]:
    height, width = sides_um(pixel_size)
    factors = {"y": height, "x": width, "top": height, "left": width, "bottom": height, "right": width}
    if height == width:
        factors["perimeter"] = width
    lengths = {f"{name}_um": table[f"{name}_px"] * factor for name, factor in factors.items()}
    return {"area_um2": table["area_px"] * (height * width), **lengths}
