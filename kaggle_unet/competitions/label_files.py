"""Labels written in other programs' formats.

Polygons follow the edges of pixels, so that any program that fills them gets the same labels. The table says what each
format cannot hold; none loses the order of ids, overlaps or holes.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.errors import ConfigError, DataError, import_extra
from kaggle_unet.io.images import encode_png, encode_tiff
from kaggle_unet.io.tables import format_rows
from kaggle_unet.masks.column_runs import find_column_runs
from kaggle_unet.masks.labels import check_labels
from kaggle_unet.masks.measure import sides_um
from kaggle_unet.masks.polygons import Polygon, trace_polygons
from kaggle_unet.masks.rle import encode
from kaggle_unet.store import atomic_write, sample_file
from kaggle_unet.types import Labels, PixelSize

_MOST_OF_16_BITS = 65535
_FARTHEST_OF_IMAGEJ = 32767  # a selection's frame has signed 16-bit numbers


@dataclass(frozen=True)
class LabelFormat:
    """A format: the suffix of its files, how labels by id become a file, and what is left out."""

    suffix: str
    encode: Callable[[Mapping[str, Labels], PixelSize], bytes]
    leaves_out: str
    holds_many: bool = False  # images in one file


def get_format(name: str) -> LabelFormat:
    """Look up a format."""
    if name not in LABEL_FORMATS:
        raise ConfigError(f"unknown format {name!r}; choose from {', '.join(LABEL_FORMATS)}")
    return LABEL_FORMATS[name]


def _only(labels: Mapping[str, Labels]) -> tuple[str, Labels]:
    ((sample_id, image_labels),) = labels.items()
    return sample_id, image_labels


def _encode_png(labels: Mapping[str, Labels], _: PixelSize) -> bytes:
    sample_id, values = _only(labels)
    if (highest := int(values.max(initial=0))) > _MOST_OF_16_BITS:
        raise DataError(f"sample {sample_id!r} has ids up to {highest}, a PNG holds {_MOST_OF_16_BITS}; write tiff")
    return encode_png(values.astype(np.uint16))


def _encode_tiff(labels: Mapping[str, Labels], pixel_size: PixelSize) -> bytes:
    scale: dict[str, Any] = {}
    if pixel_size is not None:
        height, width = sides_um(pixel_size)
        scale = {"resolution": (1e4 / width, 1e4 / height), "resolutionunit": "CENTIMETER"}
    return _save_tiff(_only(labels)[1], metadata=None, **scale)


def _encode_ome_tiff(labels: Mapping[str, Labels], pixel_size: PixelSize) -> bytes:
    sample_id, values = _only(labels)
    metadata: dict[str, Any] = {"axes": "YX", "Name": sample_id, "UUID": f"urn:uuid:{uuid5(NAMESPACE_OID, sample_id)}"}
    for axis, side in zip("YX", sides_um(pixel_size), strict=True) if pixel_size is not None else ():
        metadata |= {f"PhysicalSize{axis}": side, f"PhysicalSize{axis}Unit": "µm"}
    return _save_tiff(values, ome=True, metadata=metadata)


def _save_tiff(values: Labels, **options: Any) -> bytes:
    return encode_tiff(values.astype(np.uint16 if values.max(initial=0) <= _MOST_OF_16_BITS else np.uint32), **options)


def _encode_geojson(labels: Mapping[str, Labels], _: PixelSize) -> bytes:
    """Write a feature for each instance, named by its id, as QuPath imports annotations."""
    sample_id, values = _only(labels)
    height, width = values.shape
    features = [to_feature(label, polygons) for label, polygons in trace_polygons(values).items()]
    about = {"image": {"name": sample_id, "height": height, "width": width}}  # which other programs skip
    return json.dumps({"type": "FeatureCollection", **about, "features": features}).encode()


def to_feature(label: int, polygons: Sequence[Polygon]) -> dict[str, Any]:
    """Return an instance as a feature of GeoJSON."""
    parts = [[[*ring.tolist(), ring[0].tolist()] for ring in rings] for rings in polygons]
    is_one = len(parts) == 1
    geometry = {"type": "Polygon" if is_one else "MultiPolygon", "coordinates": parts[0] if is_one else parts}
    properties = {"objectType": "annotation", "name": str(label)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _encode_coco(labels: Mapping[str, Labels], _: PixelSize) -> bytes:
    """Write run-length codes, as lists of counts: they keep holes and pieces, which COCO's polygons do not."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (sample_id, values) in enumerate(labels.items(), start=1):
        height, width = values.shape
        images.append({"id": number, "file_name": f"{sample_id}.png", "height": height, "width": width})
        runs, firsts, _ids = find_column_runs(values)
        for first, end in pairwise(firsts):
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append(about | _describe_runs(runs[first:end], values.shape))
    categories = [{"id": 1, "name": "object"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


def _describe_runs(runs: NDArray[np.int64], shape: tuple[int, ...]) -> dict[str, Any]:
    starts, lengths = runs.T
    ends = starts + lengths
    counts = np.diff(np.column_stack([starts, ends]).ravel(), prepend=0).tolist()
    rest = shape[0] * shape[1] - int(ends[-1])
    left, right = int(starts[0]) // shape[0], int(ends[-1] - 1) // shape[0]
    goes_on = (ends - 1) // shape[0] > starts // shape[0]  # into the next column: to this one's foot, and from its top
    top = 0 if goes_on.any() else int((starts % shape[0]).min())
    bottom = shape[0] - 1 if goes_on.any() else int(((ends - 1) % shape[0]).max())
    return {
        "segmentation": {"size": list(shape), "counts": [*counts, *([rest] if rest else [])]},
        "area": int(lengths.sum()),
        "bbox": [left, top, right - left + 1, bottom - top + 1],
    }


def _encode_imagej(labels: Mapping[str, Labels], _: PixelSize) -> bytes:
    """Write a zip of selections for the ROI manager, in the order of ids."""
    sample_id, values = _only(labels)
    if max(values.shape) > _FARTHEST_OF_IMAGEJ:
        raise DataError(
            f"sample {sample_id!r} is {values.shape[1]} pixels wide and {values.shape[0]} high, more than "
            f"ImageJ's {_FARTHEST_OF_IMAGEJ}; write geojson"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, polygons in trace_polygons(values).items():
            archive.writestr(zipfile.ZipInfo(f"{label:05d}.roi"), _to_roi(f"{label:05d}", polygons))
    return buffer.getvalue()


def _to_roi(name: str, polygons: Sequence[Polygon]) -> bytes:
    """Make a traced selection, or a composite one for an instance with holes or in pieces."""
    roifile = import_extra("roifile")
    roi = roifile.ImagejRoi.frompoints(np.concatenate([rings[0] for rings in polygons]), name=name)
    roi.right, roi.bottom = roi.right - 1, roi.bottom - 1  # its corners are the edges of pixels
    roi.roitype = roifile.ROI_TYPE.TRACED
    rings = [ring for rings in polygons for ring in rings]
    if len(rings) > 1:
        steps = [np.column_stack([np.arange(len(ring)) > 0, ring]).ravel() for ring in rings]
        roi.roitype, roi.integer_coordinates, roi.n_coordinates = roifile.ROI_TYPE.RECT, None, 0
        roi.multi_coordinates = np.concatenate([np.append(step, 4) for step in steps]).astype(np.float32)
        roi.shape_roi_size = len(roi.multi_coordinates)
    return bytes(roi.tobytes())


def _encode_rle(labels: Mapping[str, Labels], _: PixelSize) -> bytes:
    rows = ((sample_id, rle, *values.shape) for sample_id, values in labels.items() for rle in encode(values) or [""])
    return format_rows(("ImageId", "EncodedPixels", "Height", "Width"), rows).encode()


LABEL_FORMATS: Mapping[str, LabelFormat] = {
    "tiff": LabelFormat(".tif", _encode_tiff, ""),
    "png": LabelFormat(".png", _encode_png, "ids above 65,535, the pixel size"),
    "ome-tiff": LabelFormat(".ome.tif", _encode_ome_tiff, ""),
    "geojson": LabelFormat(".geojson", _encode_geojson, "the pixel size"),
    "coco": LabelFormat(".json", _encode_coco, "ids (their order is kept), the pixel size", holds_many=True),
    "imagej": LabelFormat(".zip", _encode_imagej, "images over 32,767 pixels a side, the pixel size"),
    "rle": LabelFormat(".csv", _encode_rle, "ids (their order is kept), the pixel size", holds_many=True),
}


def write_labels(
    labels: ArrayLike | Mapping[str, ArrayLike], path: str | Path, format: str = "tiff", *, pixel_size: PixelSize = None
) -> None:
    """Write labels for other programs.

    Parameters
    ----------
    labels : integer array, shape (H, W), or mapping of str to such arrays
        Instances, 0 is background; of one image, or of several by id.
    path : str or Path
        The file; for labels by id, the folder of the files ``<id>.<suffix>``, or the file if the format holds many
        images (``"coco"``, ``"rle"``).
    format : {"tiff", "png", "ome-tiff", "geojson", "coco", "imagej", "rle"}, default: "tiff"
        Label images (TIFF of 16 bits, or of 32 if there are more ids), polygons along the edges of pixels for
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
    Read back, the labels are equal, except for gaps among the ids. The same labels give the same bytes.

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
        if format in {"tiff", "png", "ome-tiff"} and not checked[ids[0]].size:
            raise DataError(f"{file}: an image without pixels can't be {format}; leave it out, or write geojson")
        atomic_write(file, chosen.encode(checked, pixel_size))
