"""Annotations with absurd numbers are refused, whatever they would do to the libraries beneath."""

import json

import pytest

from kaggle_unet.errors import DataError
from kaggle_unet.io.annotation_formats import decode_coco, read_coco, read_geojson, read_rois


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2**31 - 1, 1, 9, 1, 9, 9]],  # pycocotools would end the process
        [[float("nan"), 1, 9, 1, 9, 9]],
        [[10**400, 1, 9, 1, 9, 9]],
        {"size": [24, 32], "counts": [2**63 - 1, 2**63 - 1, 5]},  # which add up to 3
        {"size": [24, 32], "counts": [10**30, 1]},
        {"size": [24, 32], "counts": [float("nan"), 1]},
    ],
)
def test_coco_with_absurd_numbers_is_refused(segmentation):
    tree = {
        "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32}],
        "annotations": [{"id": 1, "image_id": 1, "segmentation": segmentation}],
    }
    with pytest.raises(DataError, match="annotation 1"):
        decode_coco(dict(read_coco(tree, "x.json"))["a.png"], "x.json")


def test_an_annotation_of_an_image_that_is_not_listed_is_refused_by_its_number():
    tree = {"images": [], "annotations": [{"id": 4, "image_id": 9, "segmentation": []}]}
    with pytest.raises(DataError, match=r"^x\.json: annotation 4 is of image 9, .*; add the image or remove"):
        read_coco(tree, "x.json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        json.dumps(
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[10**400, 1], [2, 2], [3, 1]]]}}
        ),
    ],
)
def test_absurd_geojson_is_refused(text):
    with pytest.raises(DataError, match="export it again"):
        read_geojson(text.encode(), "x.geojson", (9, 9))


@pytest.mark.parametrize(
    "text",
    ["[[[1, 2]]]", "5", "null", '["a"]', '{"features": null}', '[{"geometry": {}, "properties": "x"}]'],
)
def test_json_that_is_no_geojson_is_refused(text):
    with pytest.raises(DataError, match=r"^x\.geojson .*export it again"):
        read_geojson(text.encode(), "x.geojson", (9, 9))


def test_sizes_that_are_none_are_refused():
    for height in (-4, 10**12, "x", None):
        about = {"id": 1, "file_name": "a.png", "height": height, "width": 4}
        with pytest.raises(DataError, match=r"^x\.geojson .*export it again"):
            read_geojson(json.dumps({"image": about, "features": []}).encode(), "x.geojson", None)
        with pytest.raises(DataError, match=r"^x\.json.*export it again"):
            read_coco({"images": [about], "annotations": []}, "x.json")


def test_a_kind_of_object_that_is_no_text_is_none_of_qupaths():
    square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2]]]}
    tree = {"type": "Feature", "geometry": square, "properties": {"objectType": ["annotation"]}}
    assert len(read_geojson(json.dumps(tree).encode(), "x.geojson", (4, 4)).runs) == 1


@pytest.mark.parametrize("is_bare", [True, False])
def test_the_polygons_of_a_collection_are_one_object(is_bare):
    square = [[0, 0], [2, 0], [2, 2], [0, 2]]
    inner = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [square]}]}
    moved = [[[x + 3, y] for x, y in square]]
    parts = [inner, {"type": "MultiPolygon", "coordinates": [moved]}, {"type": "Point", "coordinates": [8, 8]}]
    geometry = {"type": "GeometryCollection", "geometries": parts}
    tree = geometry if is_bare else {"type": "Feature", "geometry": geometry}
    (runs,), notes = read_geojson(json.dumps(tree).encode(), "x.geojson", (9, 9))[1::2]
    assert (runs[:, 1].sum(), [note.kind for note in notes]) == (8, ["shapes without an area (Point)"])


@pytest.mark.parametrize(
    ("parts", "kind"), [([{"type": "Point", "coordinates": [8, 8]}], "Point"), ([], "GeometryCollection")]
)
def test_a_collection_without_polygons_is_left_out_with_a_note(parts, kind):
    geometry = {"type": "GeometryCollection", "geometries": parts}
    found = read_geojson(json.dumps({"features": [{"geometry": geometry}]}).encode(), "x.geojson", (9, 9))
    assert (found.runs, [note.kind for note in found.notes]) == ((), [f"shapes without an area ({kind})"])


def test_a_kind_of_shape_that_is_no_text_is_left_out():
    objects = read_geojson(b'{"geometry": {"type": ["Polygon"], "coordinates": []}}', "x.geojson", (4, 4))
    assert [note.count for note in objects.notes] == [1]


def test_a_selection_that_ends_early_is_refused():
    with pytest.raises(DataError, match="save them again"):
        read_rois(b"Iout\0\xe4", "x.roi", (9, 9))
