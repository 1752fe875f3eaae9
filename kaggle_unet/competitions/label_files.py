"""Files of labels on disk, in every format of `io.label_formats`."""

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from kaggle_unet.io.label_formats import encode_labels, get_format
from kaggle_unet.masks.labels import check_labels
from kaggle_unet.store import atomic_write, sample_file


def write_labels(
    labels: ArrayLike | Mapping[str, ArrayLike],
    path: str | Path,
    format: str = "tiff",
    *,
    pixel_size: float | tuple[float, float] | None = None,
) -> None:
    """Write labels for other programs.

    Parameters
    ----------
    labels : integer array, shape (H, W), or mapping of str to such arrays
        Instances, 0 is background; of one image, or of several by id.
    path : str or Path
        The file; for labels by id the folder of the files ``<id>.<suffix>``, but the file where the format holds many
        images (``"coco"``, ``"rle"``).
    format : {"tiff", "png", "ome-tiff", "geojson", "coco", "imagej", "rle"}, default: "tiff"
        Label images (TIFF of 16 bits, or of 32 where there are more ids), polygons along the edges of pixels for
        QuPath, run-length codes in COCO's JSON, selections for ImageJ's ROI manager, or Kaggle's CSV.
    pixel_size : float or (float, float), optional
        Side of a pixel in micrometres, or its height and width, which TIFF and OME-TIFF hold.

    Raises
    ------
    DataError
        If an array is not labels, or the format cannot hold it.
    ResourceError
        If a file cannot be written.

    Notes
    -----
    Read back, the labels are equal, up to gaps among the ids. The same labels give the same bytes.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import kaggle_unet as ku
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ku.write_labels({"a": np.array([[1, 1, 2]])}, folder, "geojson")
    ...     ku.write_labels({"a": np.array([[1, 1, 2]])}, Path(folder) / "all.json", "coco")
    ...     print(*sorted(path.name for path in Path(folder).iterdir()))
    a.geojson all.json
    """
    chosen, target = get_format(format), Path(path)
    by_id = labels if isinstance(labels, Mapping) else {target.name.removesuffix(chosen.suffix): labels}
    is_one_file = chosen.holds_many or not isinstance(labels, Mapping)
    for ids in [list(by_id)] if is_one_file else [[key] for key in by_id]:
        checked = {key: check_labels(by_id[key], f"labels of {key!r}")[0] for key in ids}
        file = target if is_one_file else sample_file(target, ids[0], chosen.suffix)
        atomic_write(file, encode_labels(checked, format, pixel_size))
