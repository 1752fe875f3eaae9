"""Other programs' annotations as objects: COCO, GeoJSON as QuPath exports it, ImageJ's selections, run-length codes.

Objects are column runs, as `masks.column_runs` describes them; they may overlap. Polygons of COCO are filled by
pycocotools, whose rule defines them, all others by the centres of pixels.

A CSV of codes does not say whether they run along the rows or the columns, nor whether the first pixel is 1 or 0. The
wrong order tears objects apart if images are not square; if they are, it mirrors them, and the image tells.
"""

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError, import_extra, reading
from kaggle_unet.io.data_issues import Note
from kaggle_unet.io.tables import Table
from kaggle_unet.masks.column_runs import Runs, find_column_runs
from kaggle_unet.masks.polygons import fill_polygons
from kaggle_unet.masks.rle import decode, describe_faults
from kaggle_unet.types import Image, Mask, Shape

if TYPE_CHECKING:
    from roifile import ImagejRoi

_PAIRS = re.compile(r"\s*(?:-1\s*|(?:\d+\s+\d+\s*)*)")  # some write -1 where there is no object
_CLEARLY = 1.1  # how much better one order of codes must be


class Objects(NamedTuple):
    """The objects of one image, and the parts of it that do not count."""

    shape: Shape
    runs: tuple[Runs, ...]
    ignored: tuple[Runs, ...] = ()
    notes: tuple[Note, ...] = ()


class CocoImage(NamedTuple):
    """An image of a COCO data set, with its annotations as they are written."""

    shape: Shape
    annotations: tuple[Mapping[str, Any], ...]


def parse_json(data: bytes, where: str) -> Any:
    """Read JSON, or raise a DataError."""
    with reading(where, "export it again"):
        return json.loads(data)


def is_coco(tree: Any) -> bool:
    """Return True for a COCO data set with annotations."""
    return isinstance(tree, dict) and all(isinstance(tree.get(key), list) for key in ("images", "annotations"))


def read_coco(tree: Any, where: str) -> list[tuple[str, CocoImage]]:
    """Read a COCO data set: its images and their files' names."""
    with reading(f"{where}, a COCO data set,", "export it again"):
        names = {image["id"]: str(image["file_name"]) for image in tree["images"]}
        shapes = {image["id"]: _read_size(image) for image in tree["images"]}
        if len(names) < len(tree["images"]):
            raise ValueError(f"{len(tree['images'])} images share {len(names)} ids, as when data sets are joined")
        of_image: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in names}
        for annotation in tree["annotations"]:
            if (key := annotation["image_id"]) not in of_image:
                msg = f"{where}: annotation {annotation.get('id')} is of image {key}, which is not in its list; "
                raise DataError(f"{msg}add the image or remove the annotation")
            of_image[key].append(annotation)
    return [(names[key], CocoImage(shapes[key], tuple(found))) for key, found in of_image.items()]


def _read_size(about: Mapping[str, Any]) -> Shape:
    height, width = int(about["height"]), int(about["width"])
    if not 0 < min(height, width) <= max(height, width) < 10**6:
        raise ValueError(f"{about.get('file_name', 'an image')} of {height} x {width} pixels")
    return height, width


def decode_coco(image: CocoImage, where: str) -> Objects:
    """Decode the annotations of one image; a DataError names all faulty ones."""
    runs: dict[bool, list[Runs]] = {False: [], True: []}
    problems = []
    for annotation in image.annotations:
        try:
            decoded = _decode_segmentation(annotation.get("segmentation"), image.shape)
        except (DataError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            problems.append(f"annotation {annotation.get('id')}: {error}")
        else:
            runs[bool(annotation.get("iscrowd"))].append(decoded)
    if problems:
        raise DataError(f"{where}: {len(problems)} annotations can't be read", problems)
    n_classes = len({str(annotation.get("category_id")) for annotation in image.annotations})
    notes = (Note("categories of objects", n_classes if n_classes > 1 else 0, "not told apart"),)
    return Objects(image.shape, tuple(runs[False]), tuple(runs[True]), notes)


def _decode_segmentation(segmentation: Any, shape: Shape) -> Runs:
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != list(shape):
            raise DataError(f"its size is {segmentation['size']}, its image's {list(shape)} (height, width)")
        found = segmentation["counts"]
        counts = _decompress(found) if isinstance(found, str | bytes) else np.array(found, np.int64)
        return _take_counts(counts, shape)
    if not segmentation:
        raise DataError("it has no segmentation (a box alone is no mask); export polygons or run-length codes")
    polygons = [list(map(float, polygon)) for polygon in segmentation]
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise DataError("a polygon has fewer than three points, or half a point; remove it")
    if not all(abs(place) <= 4 * max(shape) for polygon in polygons for place in polygon):  # pycocotools would crash
        raise DataError("a polygon has a point far outside the image; correct it")
    pycocotools = import_extra("pycocotools.mask")
    merged = pycocotools.merge(pycocotools.frPyObjects(polygons, *shape))
    return _take_counts(_decompress(merged["counts"]), shape)


def _take_counts(counts: NDArray[np.int64], shape: Shape) -> Runs:
    """Turn COCO's counts, of pixels alternately outside and inside, into runs."""
    ends = np.cumsum(counts, dtype=np.int64)
    area = shape[0] * shape[1]
    if (counts < 0).any() or (counts > area).any() or (ends.size and ends[-1] > area):  # the sum might overflow
        raise DataError(f"its counts do not fit an image of {shape[0]} x {shape[1]} pixels")
    starts, lengths = ends[: counts.size // 2 * 2 : 2], counts[1::2]
    return np.column_stack([starts, lengths])[lengths > 0].astype(np.int64)


def _decompress(text: str | bytes) -> NDArray[np.int64]:
    """Read COCO's text of counts: five bits per letter; from the fourth on, the difference from the last but one."""
    letters = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    is_last = (letters & 32) == 0
    if letters.size and (letters.min() < 0 or letters.max() > 63 or not is_last[-1]):
        raise DataError("its counts are no compressed text of COCO")
    number = np.cumsum(is_last) - is_last
    place = np.arange(letters.size) - np.append(0, np.flatnonzero(is_last) + 1)[number]
    counts = np.zeros(int(is_last.sum()), np.int64)
    np.add.at(counts, number, (letters & 31) << 5 * place)
    counts -= np.where(letters[is_last] & 16, 1 << 5 * (place[is_last] + 1), 0)
    counts[1::2], counts[2::2] = np.cumsum(counts[1::2]), np.cumsum(counts[2::2])
    return counts


def read_geojson(data: bytes, where: str, shape: Shape | None) -> Objects:
    """Read the polygons of one image, in pixels; QuPath's annotations around detections or cells are not objects."""
    with reading(where, "export it again"):
        tree = parse_json(data, where)
        about = tree.get("image", {}) if isinstance(tree, dict) else {}
        shape = shape or (_read_size(about) if {"height", "width"} <= set(about) else None)
        if shape is None:
            raise DataError(f"{where} does not say its image's size; give the images as well")
        features = tree.get("features", [tree]) if isinstance(tree, dict) else tree
        features = [{"geometry": part} if {"coordinates", "geometries"} & set(part) else part for part in features]
        if not all(isinstance(part.get("geometry"), dict) for part in features):
            raise DataError(f"{where} is no GeoJSON, whose objects have a geometry each; convert it, or export COCO")
        kinds = [str((feature.get("properties") or {}).get("objectType", "")) for feature in features]
        has_cells = any(kind in {"detection", "cell", "tile"} for kind in kinds)
        runs: dict[bool, list[Runs]] = {False: [], True: []}
        left_out: Counter[str] = Counter()
        for feature, kind in zip(features, kinds, strict=True):
            geometry, properties = feature.get("geometry") or {}, feature.get("properties") or {}
            is_ignored = str((properties.get("classification") or {}).get("name", "")).startswith("Ignore")
            with reading(f"{where}: object {len(runs[False]) + 1}", "export it again"):
                parts = _list_parts(geometry)
                polygons = [polygon for _, found in parts for polygon in found]
                left_out.update(f"shapes without an area ({type_})" for type_, found in parts if not found)
                if polygons and has_cells and kind == "annotation":
                    left_out["regions around cells"] += 1
                elif polygons:
                    runs[is_ignored].append(fill_polygons(polygons, shape))
        notes = tuple(Note(kind, n, "left out") for kind, n in left_out.items())
        return Objects(shape, tuple(runs[False]), tuple(runs[True]), notes)


def _list_parts(geometry: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """List the types and the polygons of a geometry's parts: of itself, or of all in a collection."""
    match geometry.get("type"):
        case "Polygon":
            return [("Polygon", [geometry["coordinates"]])]
        case "MultiPolygon":
            return [("MultiPolygon", list(geometry["coordinates"]))]
        case "GeometryCollection":
            if parts := [part for inner in geometry["geometries"] for part in _list_parts(inner)]:
                return parts
    return [(str(geometry.get("type")), [])]


def read_rois(data: bytes, where: str, shape: Shape | None) -> Objects:
    """Read ImageJ's selections of one image: a zip of the ROI manager, or a single .roi."""
    if shape is None:
        raise DataError(f"{where} does not say its image's size; give the images as well")
    rois = list(_open_rois(data, where))
    if len(planes := {max(roi.position, roi.z_position, roi.t_position) for roi in rois} - {0}) > 1:
        raise DataError(f"{where} has selections on {len(planes)} planes, 3-D; expected those of one image")
    filled = [_fill_roi(roi, shape) for roi in rois]
    n_flat = sum(runs is None for runs in filled)
    notes = (Note("selections without an area (points, lines)", n_flat, "left out"),)
    return Objects(shape, tuple(runs for runs in filled if runs is not None), (), notes)


def _open_rois(data: bytes, where: str) -> "Iterator[ImagejRoi]":
    read = import_extra("roifile").ImagejRoi.frombytes
    with reading(f"{where}, ImageJ's selections,", "save them again"):
        if data[:4] == b"Iout":
            yield read(data)
            return
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if PurePosixPath(name).suffix.lower() == ".roi":
                    yield read(archive.read(name))


def _fill_roi(roi: "ImagejRoi", shape: Shape) -> Runs | None:
    """Fill a selection; None for points and lines."""
    if roi.roitype.name in {"POLYGON", "RECT", "FREEHAND", "TRACED"}:
        return fill_polygons([list(roi.coordinates(multi=True))], shape)
    if roi.roitype.name != "OVAL":
        return None
    top, left = max(roi.top, 0), max(roi.left, 0)
    y, x = np.mgrid[top : max(min(roi.bottom, shape[0]), top), left : max(min(roi.right, shape[1]), left)] + 0.5
    radius_y, radius_x = (roi.bottom - roi.top) / 2, (roi.right - roi.left) / 2
    mask = ((y - roi.top) / radius_y - 1) ** 2 + ((x - roi.left) / radius_x - 1) ** 2 <= 1
    return find_column_runs(mask.astype(np.int32), top=top, left=left, n_y=shape[0])[0]


def find_rle_columns(table: Table, is_id: Callable[[str], bool]) -> tuple[str, str]:
    """Find the columns of ids and of codes; images' sizes are neither."""
    columns = {name: [value for (value,) in table.select(name)] for name in table.columns}
    texts = {name: values for name, values in columns.items() if any(" " in value.strip() for value in values)}
    codes = [name for name, values in texts.items() if all(map(_PAIRS.fullmatch, values))]
    others = {name: values for name, values in columns.items() if name not in {*codes, "Height", "Width"}}
    ids = [name for name, values in others.items() if values and sum(map(is_id, values)) * 2 > len(values)]
    if len(ids) != 1 or len(codes) != 1:
        found = f"{len(ids)} with the images' names, {len(codes)} with pairs of start and length"
        raise DataError(f"{table.where} has the columns {', '.join(table.columns)}: {found}; expected one of each")
    return ids[0], codes[0]


def count_from_1(rles: Sequence[str]) -> list[str]:
    """Add 1 to the starts of codes that count from 0."""
    return [" ".join(str(int(text) + 1 - k % 2) for k, text in enumerate(rle.split())) for rle in rles]


def infer_rle_layout(rles: Collection[Sequence[str]], images: Collection[Image]) -> tuple[bool, bool, str]:
    """Return whether codes run along rows, whether they count from 0, and why, judging by those of some images."""
    areas = [image.shape[0] * image.shape[1] for image in images]
    of_zero = [[rle for rle in codes if rle.split()[:1] == ["0"]] for codes in rles]
    from_zero = any(map(_drop_faulty, map(count_from_1, of_zero), areas))
    base = "a code begins at pixel 0" if from_zero else "no code begins at pixel 0"
    codes_from_1 = map(count_from_1, rles) if from_zero else rles
    pairs = list(zip(map(_drop_faulty, codes_from_1, areas), images, strict=True))
    down = [decode(codes, image.shape[:2]) > 0 for codes, image in pairs]
    along = [decode(codes, image.shape[1::-1]).T > 0 for codes, image in pairs]
    lengths = [sum(map(_outline_px, masks)) + 1 for masks in (along, down)]
    fits = [sum(map(_contrast, masks, images)) + 1e-9 for masks in (down, along)]
    for (columns, rows), why in ((lengths, "objects are in fewer pieces"), (fits, "objects differ more from the rest")):
        if max(columns, rows) > _CLEARLY * min(columns, rows):
            return rows > columns, from_zero, f"{base}; {why} so"
    return False, from_zero, f"{base}; rows fit as well, columns are Kaggle's rule"


def _drop_faulty(rles: Sequence[str], n_px: int) -> list[str]:
    """Return the codes without faulty ones, which are reported when their sample is read."""
    return [rle for rle in rles if not describe_faults(rle, n_px)]


def _outline_px(mask: Mask) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def _contrast(mask: Mask, image: Image) -> float:
    """Return how far apart the means inside and outside are, in standard deviations."""
    if mask.all() or not mask.any():
        return 0.0
    gray = image.mean(axis=2) if image.ndim == 3 else image.astype(np.float64)
    return float(abs(gray[mask].mean() - gray[~mask].mean()) / (gray.std() or 1))
