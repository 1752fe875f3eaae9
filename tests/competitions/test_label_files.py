"""Formats of labels, each read back by a program that was not written here."""

import io
import json
import zipfile

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco
from roifile import ImagejRoi

from kaggle_unet.competitions.label_files import LABEL_FORMATS, get_format, write_labels
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.rle import decode
from tests import strategies

# pycocotools 2.0 asks numpy 2 for arrays in the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LABELS = np.array([[0, 3, 3, 3, 0], [9, 3, 0, 3, 0], [9, 3, 3, 3, 9], [0, 0, 0, 0, 0]], np.int32)
# 3 has a hole, 9 is in two pieces
IDS = [3, 9]
Y, X = np.mgrid[: LABELS.shape[0], : LABELS.shape[1]] + 0.5


def encoded(format, labels=LABELS, pixel_size=None):
    return get_format(format).encode({"a": labels}, pixel_size)


def read_shapely(data):
    features = json.loads(data)["features"]
    shapes = {int(part["properties"]["name"]): shapely.geometry.shape(part["geometry"]) for part in features}
    return sum((key * shapely.contains_xy(shape, X, Y) for key, shape in shapes.items()), np.zeros(LABELS.shape, int))


def read_pycocotools(data):
    labels = np.zeros(LABELS.shape, int)
    for annotation in json.loads(data)["annotations"]:
        rle = coco.frPyObjects(annotation["segmentation"], *LABELS.shape)
        labels += IDS[annotation["id"] - 1] * coco.decode(rle)
        assert coco.area(rle) == annotation["area"]
        assert coco.toBbox(rle).tolist() == annotation["bbox"]
    return labels


def read_roifile(data):
    labels = np.zeros(LABELS.shape, int)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            roi = ImagejRoi.frombytes(archive.read(name))
            assert (roi.name, roi.left >= 0, roi.right <= 5, roi.bottom <= 4) == (name[:-4], True, True, True)
            rings = [shapely.Polygon(ring) for ring in roi.coordinates(multi=True)]
            labels += int(roi.name) * (sum(shapely.contains_xy(ring, X, Y).astype(int) for ring in rings) % 2)
    return labels


READERS = {
    "tiff": lambda data: tifffile.imread(io.BytesIO(data)),
    "png": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    "ome-tiff": lambda data: tifffile.imread(io.BytesIO(data)),
    "geojson": read_shapely,
    "coco": read_pycocotools,
    "imagej": read_roifile,
}


@pytest.mark.parametrize("format", READERS)
def test_other_programs_read_the_labels_that_were_written(format):
    np.testing.assert_array_equal(READERS[format](encoded(format)), LABELS)


@pytest.mark.parametrize("format", LABEL_FORMATS)
def test_the_same_labels_give_the_same_bytes_and_none_are_no_fault(format):
    assert encoded(format, pixel_size=0.5) == encoded(format, pixel_size=0.5)
    assert encoded(format, np.zeros((2, 3), np.int32))


def test_a_table_of_codes_has_the_sizes_and_a_row_for_an_image_without_objects():
    table = get_format("rle").encode({"a": LABELS, "b": LABELS * 0}, None).decode().splitlines()
    assert [row.split(",")[0] for row in table] == ["ImageId", "a", "a", "b"]
    assert table[3] == "b,,4,5"
    np.testing.assert_array_equal(decode([row.split(",")[1] for row in table[1:3]], (4, 5)) > 0, LABELS > 0)


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_areas_and_boxes_of_coco_are_those_of_pycocotools(labels):
    for annotation in json.loads(encoded("coco", labels))["annotations"]:
        rle = coco.frPyObjects(annotation["segmentation"], *labels.shape)
        assert (coco.area(rle), coco.toBbox(rle).tolist()) == (annotation["area"], annotation["bbox"])


@pytest.mark.parametrize("format", ["tiff", "ome-tiff"])
def test_tiffs_hold_the_pixel_size_and_ids_of_32_bits(format):
    with tifffile.TiffFile(io.BytesIO(encoded(format, LABELS * 30_000, pixel_size=(0.5, 0.25)))) as tiff:
        assert (tiff.asarray() == LABELS * 30_000).all()
        if format == "tiff":
            assert tiff.pages[0].get_resolution(tifffile.RESUNIT.MICROMETER) == (4, 2)
        else:
            assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
            assert 'PhysicalSizeY="0.5"' in tiff.ome_metadata


def test_what_a_format_cannot_hold_is_refused_by_name():
    with pytest.raises(DataError, match="'a' has ids up to 270000, a PNG holds 65535; write tiff"):
        encoded("png", LABELS * 30_000)
    with pytest.raises(DataError, match="'a' is 40000 pixels wide and 1 high, more than ImageJ's 32767"):
        encoded("imagej", np.ones((1, 40_000), np.int32))
    with pytest.raises(ConfigError, match="the pixel size is 0; expected micrometres above 0"):
        encoded("tiff", pixel_size=0)
    with pytest.raises(ConfigError, match="unknown format 'roi'; choose from tiff, png"):
        encoded("roi")


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("format", LABEL_FORMATS)
def test_an_image_without_pixels_is_written_or_refused_by_name(format, shape, tmp_path):
    if format in {"tiff", "png", "ome-tiff"}:
        with pytest.raises(DataError, match=rf"a\..*: an image without pixels can't be {format}; leave it out"):
            write_labels({"a": np.zeros(shape, int)}, tmp_path, format)
        assert list(tmp_path.iterdir()) == []
    else:
        write_labels(np.zeros(shape, int), tmp_path / "x", format)
        assert (tmp_path / "x").exists()


SMALL = np.array([[0, 1, 1], [2, 0, 2]])


def test_labels_by_id_become_a_file_each_or_one_for_all(tmp_path):
    write_labels({"a": SMALL, "b.c": SMALL.T}, tmp_path / "x", "ome-tiff")
    write_labels({"a": SMALL, "b.c": SMALL.T}, tmp_path / "all.json", "coco")
    assert tifffile.imread(tmp_path / "x/b.c.ome.tif").tolist() == SMALL.T.tolist()
    assert [image["file_name"] for image in json.loads((tmp_path / "all.json").read_text())["images"]] == [
        "a.png",
        "b.c.png",
    ]


def test_one_images_labels_are_named_by_their_file(tmp_path):
    write_labels(SMALL.astype(bool), tmp_path / "b.c.json", "coco")
    assert json.loads((tmp_path / "b.c.json").read_text())["images"][0]["file_name"] == "b.c.png"


def test_arrays_that_are_no_labels_are_named(tmp_path):
    with pytest.raises(DataError, match="labels of 'a' of dtype float64"):
        write_labels({"a": SMALL / 2}, tmp_path)
    assert not list(tmp_path.iterdir())
