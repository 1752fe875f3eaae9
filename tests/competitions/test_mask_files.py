"""Masks of every kind, as other programs' libraries write them: what is guessed, read, ignored or refused."""

import io
import json
import os
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
import shapely
import skimage.io
import tifffile
from PIL import Image
from pycocotools import mask as pycocotools
from roifile import ROI_TYPE, ImagejRoi
from scipy import ndimage

from kaggle_unet.competitions import mask_files
from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.folder import Folder
from kaggle_unet.errors import DataError
from kaggle_unet.io.annotation_formats import parse_json
from kaggle_unet.masks.labels import components
from kaggle_unet.types import DataIssue
from tests.files import encode, png, tiff, write_folder

LABELS = np.zeros((12, 16), np.uint8)
LABELS[1:5, 1:5], LABELS[2:4, 5:9], LABELS[6:11, 3:6], LABELS[7:9, 9:15] = 1, 2, 3, 4
LABELS[8, 4] = 0  # a hole
BINARY = LABELS.copy()
BINARY[:, 5] = 0  # 1 and 2 do not touch; 3 is narrower
IMAGE = LABELS * np.uint8(40) + np.uint8(20)
BLACK_LAST = [200, 30, 40, 10, 220, 30, 90, 90, 250, 250, 240, 20, 0, 0, 0]

# pycocotools 2.0 asks numpy 2 for arrays in the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def read(folder, files, images=("a",), **settings):
    """Read a set of equal images with some files of masks."""
    files = {f"images/{name}.png": png(IMAGE) for name in images} | files
    settings = CompetitionSettings(name="folder", **settings)
    return Folder().read(write_folder(folder / "set", files), settings, with_masks=True)


def kind(source):
    """Return what the masks were read as, and why."""
    (issue,) = [issue for issue in source.data_issues if issue.kind.startswith("masks read as")]
    return issue.kind.removeprefix("masks read as "), issue.action


def check(source, expected=LABELS, sample="a"):
    """Compare the labels, and return the notes by kind."""
    loaded = source.load(sample)
    np.testing.assert_array_equal(loaded.labels, expected)
    return {issue.kind: issue.count for issue in loaded.data_issues}


def palette(indices, colours):
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colours)
    return png(picture)


def skimage_png(values, path):
    skimage.io.imsave(path, values, check_contrast=False)
    return path.read_bytes()


# Images of masks.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_label_images_of_any_depth_and_any_ids(tmp_path, dtype):
    values = np.where(LABELS > 0, np.iinfo(dtype).max - 4 + LABELS.astype(dtype), 0).astype(dtype)
    source = read(tmp_path, {"masks/a.tif": tiff(values)})
    assert kind(source) == ("labels", "up to 4 numbers in an image")
    check(source)


@pytest.mark.parametrize(
    "name", ["a_mask", "a_masks", "a_label", "a-labels", "a_seg", "a.ome", "a_cp_masks", "A_mask.ome"]
)
def test_masks_are_named_like_images_but_for_a_word_at_the_end(tmp_path, name):
    check(read(tmp_path, {f"masks/{name}.tif": tiff(LABELS)}))


def test_names_of_images_and_masks_may_be_composed_or_not(tmp_path):
    name = "Zähler"
    files = {f"masks/{unicodedata.normalize('NFD', name)}.png": png(LABELS)}
    check(read(tmp_path, files, [name]), sample=name)


@pytest.mark.parametrize("settings", [{}, {"masks": "images"}])
def test_masks_may_lie_among_the_images(tmp_path, settings):
    files = {"images/a_cp_masks.tif": tiff(LABELS), "images/b.tif": tiff(IMAGE), "images/b_mask.png": png(LABELS)}
    source = read(tmp_path, files, **settings)
    assert source.ids == ("a", "b")
    check(source), check(source, sample="b")
    assert Folder().read(str(tmp_path / "set"), CompetitionSettings(name="folder"), with_masks=False).ids == ("a", "b")


def test_images_whose_names_end_like_masks_are_images_where_masks_have_a_folder(tmp_path):
    files = {"masks/a.png": png(LABELS), "masks/a_seg.png": png(BINARY)}
    assert read(tmp_path, files, ["a", "a_seg"]).ids == ("a", "a_seg")


def test_other_usual_folders_are_found(tmp_path):
    check(read(tmp_path, {"labels/a.png": png(LABELS)}))


@pytest.mark.parametrize("values", [(128, 254), (255, 255), (7, 7)])
def test_components_are_objects_where_all_masks_have_one_value_beside_0(tmp_path, values):
    files = {f"masks/{name}.png": skimage_png((BINARY > 0) * np.uint8(value), tmp_path / "x.png")
             for name, value in zip("ab", values, strict=True)}  # fmt: skip
    source = read(tmp_path, files, "ab")
    assert kind(source)[0] == "binary"
    assert [source.load(name).labels.max() for name in "ab"] == [4, 4]


def test_a_mask_of_several_values_among_binary_ones_is_named(tmp_path):
    files = {f"masks/{number:02}.png": png((BINARY > 0) * np.uint8(255)) for number in range(12)}
    files["masks/02.png"] = png(LABELS)
    source = read(tmp_path, files, [f"{number:02}" for number in range(12)])
    with pytest.raises(DataError, match=r"02\.png has more values than one beside 0.*competition\.masks_are"):
        source.load("02")


def test_two_values_without_0_need_a_word(tmp_path):
    files = {"masks/a.png": png(np.where(BINARY > 0, 254, 128).astype(np.uint8))}
    with pytest.raises(
        DataError, match=r"the values 128, 254 and no 0.*masks_are to binary and competition\.foreground"
    ):
        read(tmp_path, files)
    source = read(tmp_path, files, masks_are="binary", foreground=254)
    assert kind(source) == ("binary", "as competition.masks_are says")
    assert source.load("a").labels.max() == 4


def test_inverted_masks_need_a_word(tmp_path):
    files = {"masks/a.png": png((BINARY == 0) * np.uint8(255))}
    with pytest.raises(DataError, match=r"so perhaps they are the objects; then .*competition\.foreground to 0"):
        read(tmp_path, files)
    assert read(tmp_path, files, masks_are="binary", foreground=0).load("a").labels.max() == 4


def test_masks_saved_as_jpeg_are_binary_and_labels_so_saved_are_refused(tmp_path):
    files = {"masks/a.jpg": encode((BINARY > 0) * np.uint8(255), "JPEG", quality=75)}
    source = read(tmp_path, files)
    assert kind(source) == ("binary", "JPEGs")
    sample = source.load("a")
    assert sample.labels.max() == 4
    assert (abs(sample.labels > 0) != (BINARY > 0)).mean() < 0.02
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG, which does not keep numbers"):
        read(tmp_path, files, masks_are="labels").load("a")


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
@pytest.mark.parametrize("shown", [128, 255])
def test_halos_of_a_jpeg_are_no_objects_but_numbers_in_it_are_refused(tmp_path, quality, shown):
    big = np.kron(BINARY, np.ones((6, 6), np.uint8))
    files = {"images/b.png": png(big), "masks/b.jpg": encode((big > 0) * np.uint8(shown), "JPEG", quality=quality)}
    sample = read(tmp_path, files, ()).load("b")
    assert sample.labels.max() == 4
    assert ((sample.labels > 0) != (big > 0)).mean() < 0.02
    (tmp_path / "set/masks/b.jpg").write_bytes(encode(big * np.uint8(60), "JPEG", quality=quality))
    with pytest.raises(DataError, match="is a JPEG of more than two values"):
        read(tmp_path, {}, ()).load("b")


@pytest.mark.parametrize("is_void_gray", [False, True])
def test_void_outlines_do_not_count(tmp_path, is_void_gray):
    void = np.zeros(LABELS.shape, bool)
    void[5, 1:15] = void[1:5, 9] = True
    void &= LABELS == 0
    values = np.where(void, 255, LABELS).astype(np.uint8)
    colours = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128] + [9] * 250 * 3 + [224, 224, 192]
    files = {"masks/a.png": png(values) if is_void_gray else palette(values, colours)}
    if is_void_gray:
        with pytest.raises(DataError, match=r"255 borders on \d objects.*competition\.ignore to 255, or to -1"):
            read(tmp_path, files).load("a")
        check(read(tmp_path, files, ignore=-1), np.where(void, 5, LABELS))
    source = read(tmp_path, files, **({"ignore": 255} if is_void_gray else {}))
    check(source)
    np.testing.assert_array_equal(source.load("a").ignore, void)


def test_void_outlines_may_be_colours(tmp_path):
    colours = np.array([[0, 0, 0], *np.reshape(BLACK_LAST[:12], (4, 3))], np.uint8)[LABELS]
    void = np.zeros(LABELS.shape, bool)
    void[5, 1:15] = void[1:5, 9] = True
    void &= LABELS == 0
    for name, colour in (("voc", (224, 224, 192)), ("white", (255, 255, 255))):
        colours[void] = colour
        source = read(tmp_path / name, {"masks/a.png": png(colours)})
        if name == "white":
            with pytest.raises(DataError, match=r"255 borders on \d objects"):
                source.load("a")
            source = read(tmp_path / name, {}, ignore=255)
        np.testing.assert_array_equal(source.load("a").ignore, void)
        assert source.load("a").labels.max() == 4


def test_a_background_that_is_neither_0_nor_black_is_refused(tmp_path):
    white = np.array([[255, 255, 255], *np.reshape(BLACK_LAST[:12], (4, 3))], np.uint8)[LABELS]
    files = {"masks/a.png": png(white), "masks/b.png": png(white * np.uint8(0))}
    source = read(tmp_path, files, "ab")
    with pytest.raises(
        DataError, match=r"a\.png has an object that reaches all sides of the image and borders on most others"
    ):
        source.load("a")
    assert read(tmp_path, files, "ab", masks_are="colours").load("a").labels.max() == 5


def test_a_palette_may_have_black_anywhere(tmp_path):
    indices = np.where(LABELS == 0, 4, LABELS - 1).astype(np.uint8)
    files = {"masks/a.png": palette(LABELS, [0, 0, 0, *BLACK_LAST[:12]]), "masks/b.png": palette(indices, BLACK_LAST)}
    source = read(tmp_path, files, "ab")
    check(source), check(source, sample="b")


def test_each_colour_is_an_object(tmp_path):
    colours = np.array([[0, 0, 0], *np.reshape(BLACK_LAST[:12], (4, 3))[::-1]], np.uint8)[LABELS]
    source = read(tmp_path, {"masks/a.png": png(colours)})
    assert kind(source) == ("colours", "up to 4 in an image")
    order = np.array(
        [0, *np.argsort(np.argsort(colours[[1, 2, 6, 7], [1, 6, 3, 9]].astype(int) @ [65536, 256, 1])) + 1]
    )
    check(source, order[LABELS])


@pytest.mark.parametrize("shade", [0, 255])
def test_a_mask_in_the_alpha_channel_is_read_from_there(tmp_path, shade):
    pixels = np.dstack([np.full((*LABELS.shape, 3), shade, np.uint8), (BINARY > 0) * np.uint8(255)])
    source = read(tmp_path, {"masks/a.png": png(pixels)})
    assert kind(source)[0] == "binary"
    sample = source.load("a")
    np.testing.assert_array_equal(sample.labels > 0, BINARY > 0)
    assert "masks in the alpha channel" in {issue.kind for issue in sample.data_issues}


def test_the_alpha_of_a_photograph_is_its_mask(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (*LABELS.shape, 3), np.uint8)
    source = read(tmp_path, {"masks/a.png": png(np.dstack([photo, (BINARY > 0) * np.uint8(255)]))})
    np.testing.assert_array_equal(source.load("a").labels > 0, BINARY > 0)


def test_what_is_transparent_is_background(tmp_path):
    gray = np.dstack([np.where(LABELS > 0, LABELS, 99), (LABELS > 0) * 255]).astype(np.uint8)
    check(read(tmp_path, {"masks/a.png": png(gray)}))


def test_classes_are_told_from_objects(tmp_path):
    classes = np.zeros((12, 16), np.uint8)
    classes[::4, ::4], classes[2::4, 2::4] = 1, 2
    with pytest.raises(DataError, match=r"numbers in 12 pieces each, as classes are; set competition\.masks_are to"):
        read(tmp_path, {"masks/a.png": png(classes)})
    check(read(tmp_path, {"masks/a.png": png(classes)}, masks_are="classes"), classes)
    assert read(tmp_path, {"masks/a.png": png(classes)}, masks_are="binary").load("a").labels.max() == 24


@pytest.mark.parametrize("pattern", ["a_{}.png", "a/{}.png", "a/deep/nucleus {}.png", "a.{}.png", "a_mask_{}.png"])
def test_several_files_of_an_image_are_an_object_each(tmp_path, pattern):
    files = {f"masks/{pattern.format(number)}": png((number == LABELS) * np.uint8(255)) for number in (1, 2, 3, 4)}
    files["masks/b_1.png"] = png(LABELS == 9)
    source = read(tmp_path, files, ["a", "b"])
    assert kind(source) == ("files", "several files for an image")
    check(source)


def test_masks_of_single_objects_may_lie_in_the_alpha_channel_or_be_jpegs(tmp_path):
    def alpha(mask):
        return png(np.dstack([np.full((*mask.shape, 3), 255, np.uint8), mask * np.uint8(255)]))

    big = np.kron(BINARY, np.ones((6, 6), np.uint8))
    files = {f"masks/a/{number}.png": alpha(number == LABELS) for number in (1, 2, 3, 4)}
    files |= {f"masks/b/{n}.jpg": encode((big == n) * np.uint8(255), "JPEG", quality=60) for n in (1, 2, 3, 4)}
    source = read(tmp_path, files | {"images/b.png": png(big)})
    check(source)
    assert ((source.load("b").labels > 0) != (big > 0)).mean() < 0.01


def test_an_empty_folder_of_masks_is_an_image_without_objects(tmp_path):
    (tmp_path / "set/masks/b").mkdir(parents=True)
    files = {f"masks/a/{number}.png": png(number == LABELS) for number in (1, 2)}
    assert not read(tmp_path, files, ["a", "b"]).load("b").labels.any()


def test_masks_without_an_image_are_named(tmp_path):
    files = {"masks/a.png": png(LABELS), "masks/more/b.png": png(LABELS), "masks/c.png": png(LABELS)}
    with pytest.raises(DataError) as caught:
        read(tmp_path, files)
    assert [problem.rpartition("masks/")[2] for problem in caught.value.problems] == [
        "c.png has no image", "more/b.png has no image",
    ]  # fmt: skip


# Annotations.


def coco_set(**changes):
    """Make a data set with a polygon, both kinds of run-length codes, and a crowd."""
    shape = LABELS.shape
    crowd = np.zeros(shape, np.uint8, order="F")
    crowd[0:4, 10:16] = 1
    masks = [np.asfortranarray(number == LABELS) for number in (1, 2, 3, 4)]
    rles = [pycocotools.encode(mask.astype(np.uint8, order="F")) for mask in masks]
    counts = [rle["counts"].decode() for rle in rles]
    plain = [0, *np.flatnonzero(np.diff(masks[3].ravel(order="F").astype(int), append=0)) + 1, masks[3].size]
    found = [
        [[1, 1, 5, 1, 5, 5, 1, 5]],
        {"size": list(shape), "counts": counts[1]},
        {"size": list(shape), "counts": counts[2]},
        {"size": list(shape), "counts": np.diff(plain).tolist()},
        pycocotools.encode(crowd) | {"counts": pycocotools.encode(crowd)["counts"].decode()},
    ]
    annotations = [
        {"id": i, "image_id": 7, "category_id": 1 + i % 2, "segmentation": segmentation, "iscrowd": int(i == 4)}
        for i, segmentation in enumerate(found)
    ]
    images = [{"id": 7, "file_name": r"train\a.jpg", "height": shape[0], "width": shape[1]}]
    images.append({"id": 8, "file_name": "b.png", "height": shape[0], "width": shape[1]})
    return {"images": images, "annotations": annotations, "categories": []} | changes


@pytest.mark.parametrize("place", ["masks/instances.json", "annotations/x.json", "all.json"])
def test_a_coco_data_set_is_read_wherever_it_lies(tmp_path, place):
    source = read(tmp_path, {place: json.dumps(coco_set()).encode()}, ["a", "b"])
    assert kind(source)[0] == "coco"
    notes = check(source)
    assert notes["categories of objects"] == 2
    crowd = np.zeros(LABELS.shape, bool)
    crowd[0:4, 10:16] = True
    np.testing.assert_array_equal(source.load("a").ignore, crowd)
    assert not source.load("b").labels.any()


def test_polygons_of_coco_are_filled_as_pycocotools_fills_them(tmp_path):
    polygon = [2.3, 1.2, 13.7, 3.9, 9.2, 10.6, 4.1, 8.8]
    annotations = [{"id": 1, "image_id": 7, "category_id": 1, "segmentation": [polygon], "iscrowd": 0}]
    source = read(tmp_path, {"x.json": json.dumps(coco_set(annotations=annotations)).encode()}, ["a", "b"])
    (rle,) = pycocotools.frPyObjects([polygon], *LABELS.shape)
    check(source, pycocotools.decode(rle))


def test_images_that_the_folder_lacks_are_counted(tmp_path):
    source = read(tmp_path, {"masks/x.json": json.dumps(coco_set()).encode()})
    assert [(issue.kind[:35], issue.count) for issue in source.data_issues[1:]] == [
        ("annotations of images that are not ", 1)
    ]


@pytest.mark.parametrize(
    ("segmentation", "match"),
    [
        ([], "annotation 1: it has no segmentation"),
        ([[1, 1, 5, 5]], "fewer than three points"),
        ({"size": [3, 3], "counts": [1, 2]}, r"its size is \[3, 3\]"),
        ({"size": [12, 16], "counts": [1, 999]}, "do not fit an image of 12 x 16"),
        ({"size": [12, 16], "counts": "é"}, "no compressed text"),
        ({"counts": [1]}, "'size'"),
    ],
)
def test_faulty_annotations_are_named(tmp_path, segmentation, match):
    annotations = [{"id": 1, "image_id": 7, "category_id": 1, "segmentation": segmentation}]
    source = read(tmp_path, {"x.json": json.dumps(coco_set(annotations=annotations)).encode()}, ["a", "b"])
    with pytest.raises(DataError, match=rf"x\.json: image 'a'.*1 annotations can't be read\n.*{match}"):
        source.load("a")


def test_coco_files_that_do_not_fit_are_named(tmp_path):
    data = json.dumps(coco_set()).encode()
    with pytest.raises(DataError, match=r"holds 2 COCO data sets, expected one; name it with competition\.masks"):
        read(tmp_path, {"masks/x.json": data, "masks/y.json": data})
    assert kind(read(tmp_path, {}, ["a", "b"], masks="masks/x.json"))[0] == "coco"
    with pytest.raises(DataError, match=r"a COCO data set, is damaged.*export it again"):
        read(tmp_path / "2", {"masks/x.json": b'{"images": [{}], "annotations": []}'})
    with pytest.raises(DataError, match=r"x\.json is damaged \(JSONDecodeError"):
        read(tmp_path / "3", {"masks/x.json": b"{"})
    joined = coco_set()
    joined["images"] *= 2
    with pytest.raises(DataError, match=rf"{len(joined['images'])} images share {len(joined['images']) // 2} ids"):
        read(tmp_path / "4", {"masks/x.json": json.dumps(joined).encode()})


def qupath(*shapes):
    """Write features as QuPath exports them."""
    features = [
        {"type": "Feature", "id": str(i), "geometry": shapely.geometry.mapping(shape),
         "properties": {"objectType": kind, **({"classification": {"name": name}} if name else {})}}
        for i, (shape, kind, name) in enumerate(shapes)
    ]  # fmt: skip
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def test_geojson_of_qupath_is_read_with_holes_and_without_regions(tmp_path):
    third = shapely.box(3, 6, 6, 11) - shapely.box(4, 8, 5, 9)
    shapes = [
        (shapely.box(0, 0, 16, 12), "annotation", ""),
        (shapely.box(1, 1, 5, 5), "detection", ""), (shapely.box(5, 2, 9, 4), "cell", "Tumor"),
        (third, "detection", ""),
        (shapely.MultiPolygon([shapely.box(9, 7, 12, 9), shapely.box(12, 7, 15, 9)]), "cell", ""),
        (shapely.box(10, 0, 16, 4), "detection", "Ignore*"), (shapely.Point(3, 3), "detection", ""),
    ]  # fmt: skip
    source = read(tmp_path, {"masks/a.geojson": qupath(*shapes)})
    assert kind(source) == ("geojson", "by the files' names")
    notes = check(source)
    assert (notes["regions around cells"], notes["shapes without an area (Point)"]) == (1, 1)
    assert source.load("a").ignore.sum() == 24


def test_a_list_of_features_and_a_name_in_json_will_do(tmp_path):
    features = json.loads(qupath((shapely.box(1, 1, 5, 5), "annotation", "")))["features"]
    files = {"masks/a.json": json.dumps(features).encode(), "masks/b.json": json.dumps(features[0]).encode()}
    source = read(tmp_path, files, "ab")
    check(source, LABELS == 1), check(source, LABELS == 1, sample="b")


def test_json_of_another_program_is_refused(tmp_path):
    source = read(tmp_path, {"masks/a.json": b'{"shapes": [{"points": [[1, 1]]}], "imagePath": "a.png"}'})
    with pytest.raises(DataError, match=r"a\.json is no GeoJSON"):
        source.load("a")


def test_overlapping_polygons_are_counted(tmp_path):
    source = read(
        tmp_path, {"masks/a.geojson": qupath((shapely.box(0, 0, 9, 9), "", ""), (shapely.box(7, 7, 9, 10), "", ""))}
    )
    assert {issue.kind: issue.count for issue in source.load("a").data_issues}["overlapping pixels of masks"] == 4


def rois(*selections):
    """Write a zip as the ROI manager does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, roi in enumerate(selections):
            archive.writestr(f"{i:04}.roi", roi.tobytes())
    return buffer.getvalue()


def rectangle(kind, top, left, bottom, right, **fields):
    roi = ImagejRoi()
    roi.roitype, roi.top, roi.left, roi.bottom, roi.right = kind, top, left, bottom, right
    for name, value in fields.items():
        setattr(roi, name, value)
    return roi


def test_selections_of_imagej_are_filled(tmp_path):
    freehand = ImagejRoi.frompoints(np.array([[5, 2], [9, 2], [9, 4], [5, 4]]))
    subpixel = ImagejRoi.frompoints(np.array([[2.6, 5.6], [6.4, 5.6], [6.4, 11.4], [2.6, 11.4]]))
    data = rois(rectangle(ROI_TYPE.RECT, 1, 1, 5, 5), freehand, subpixel, rectangle(ROI_TYPE.POINT, 2, 2, 3, 3))
    source = read(tmp_path, {"masks/RoiSet_a.zip": data, "masks/b_RoiSet.zip": data}, ["RoiSet_a", "b"])
    filled = np.where(LABELS == 4, 0, LABELS)
    filled[8, 4] = 3  # no hole
    notes = check(source, filled, sample="b")
    assert notes["selections without an area (points, lines)"] == 1


def test_an_oval_is_the_ellipse_in_its_box_and_is_cut_at_the_image(tmp_path):
    source = read(tmp_path, {"masks/a.roi": rectangle(ROI_TYPE.OVAL, 2, 11, 8, 21).tobytes()})
    y, x = np.mgrid[:12, :16] + 0.5
    check(source, ((y - 5) / 3) ** 2 + ((x - 16) / 5) ** 2 <= 1)


def test_selections_on_several_planes_are_3d(tmp_path):
    planes = [rectangle(ROI_TYPE.RECT, 1, 1, 5, 5, position=plane) for plane in (1, 2)]
    source = read(tmp_path, {"masks/a.zip": rois(*planes)})
    with pytest.raises(DataError, match=r"selections on 2 planes, 3-D"):
        source.load("a")


def test_what_is_no_selection_is_named(tmp_path):
    source = read(tmp_path, {"masks/a.zip": b"PK", "masks/b.roi": b"Iout" * 9}, "ab")
    for name in "ab":
        with pytest.raises(DataError, match="ImageJ's selections, is damaged"):
            source.load(name)


def runs(mask, order, first):
    """Write a mask as a run-length code, pixel by pixel."""
    changes = np.flatnonzero(np.diff(np.r_[0, mask.ravel(order=order).astype(int), 0]))
    return " ".join(f"{start + first} {end - start}" for start, end in changes.reshape(-1, 2))


@pytest.mark.parametrize("is_square", [False, True])
@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("first", [0, 1])
def test_codes_may_run_along_rows_or_columns_from_0_or_1(tmp_path, is_square, order, first):
    labels = np.roll(LABELS, (-1, -1), axis=(0, 1))
    labels = labels[:, :12] if is_square else labels
    rows = [f"a.png,{runs(labels == number, order, first)},x" for number in (1, 2, 3)]
    table = "\n".join(["image,codes,other", *rows, "b.png,-1,y", "gone.png,1 1,z", ""])
    files = {f"images/{name}.png": png(labels * np.uint8(50) + np.uint8(3)) for name in "ab"} | {
        "train.csv": table.encode()
    }
    source = read(tmp_path, files, ())
    name, why = kind(source)
    assert (name, why.split(":")[0]) == ("rle", f"along the {'rows' if order == 'C' else 'columns'} from pixel {first}")
    assert source.data_issues[1].count == 1  # the image that is gone
    check(source, np.where(labels < 4, labels, 0))
    assert not source.load("b").labels.any()


def codes(*others, sizes=("",) * 4):
    """Write the codes of all objects in two images, and other rows."""
    rows = [f"{name},{runs(number + 1 == LABELS, 'F', 1)}{sizes[number]}" for name in "ab" for number in range(4)]
    return "\n".join(["image,rle,Height,Width" if sizes[0] else "image,rle", *rows, *others, ""]).encode()


@pytest.mark.parametrize("bad", ["1999 5", "0 23 4"])
def test_a_faulty_code_is_named_by_its_image_and_misleads_no_other(tmp_path, bad):
    source = read(tmp_path, {"t.csv": codes(f"b,{bad}")}, "ab")
    check(source)
    with pytest.raises(DataError, match=r"t\.csv: id 'b': "):
        source.load("b")


def test_an_odd_code_that_counts_from_0_is_named_by_its_image(tmp_path):
    source = read(tmp_path, {"t.csv": b"image,rle\na,0 3\nb,0 23 4\n"}, "ab")
    with pytest.raises(DataError, match=r"t\.csv: id 'b': .*3 numbers don't make pairs"):
        source.load("b")


def test_a_damaged_image_does_not_keep_the_codes_of_others_from_being_read(tmp_path):
    check(read(tmp_path, {"images/b.png": b"x", "t.csv": codes()}))


def test_sizes_in_a_table_may_be_floats_or_missing(tmp_path):
    check(read(tmp_path, {"t.csv": codes(sizes=(",12.0,16.0", ",,") * 2)}, "ab"))


def test_tables_whose_columns_cannot_be_told_are_named(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv has the columns image, n: 1 with the images' names, 0 with pairs"):
        read(tmp_path, {"masks/t.csv": b"image,n\na.png,5\n"})


# Refusals.


def test_pickles_of_cellpose_are_refused_with_the_cure(tmp_path):
    with pytest.raises(DataError, match=r"pickles of Cellpose.*save _cp_masks\.png in Cellpose\n.*a_seg\.npy"):
        read(tmp_path, {"masks/a_seg.npy": b"x"})


@pytest.mark.parametrize("folder", ["masks", "images"])
def test_pickles_of_cellpose_beside_masks_are_left_aside(tmp_path, folder):
    source = read(tmp_path, {"masks/a_cp_masks.png": png(LABELS), f"{folder}/a_seg.npy": b"x"})
    check(source)
    issue = DataIssue(f"{folder}/a_seg.npy", "other files (.npy)", 1, "not read")
    assert issue in source.data_issues


def test_masks_of_several_kinds_need_a_word(tmp_path):
    files = {"masks/a.png": png(LABELS), "masks/a.geojson": qupath((shapely.box(1, 1, 5, 5), "", ""))}
    with pytest.raises(DataError, match=r"masks of several kinds \(images, json\).*competition\.masks_are"):
        read(tmp_path, files)
    check(read(tmp_path, files, masks_are="labels"))
    check(read(tmp_path, files, masks_are="geojson"), LABELS == 1)


@pytest.mark.parametrize("masks_are", ["labels", "geojson", "coco", "rois", "rle"])
def test_a_kind_that_is_not_there_has_no_masks(tmp_path, masks_are):
    with pytest.raises(DataError, match="has no masks"):
        read(tmp_path, {"masks/a.txt": b"x"}, masks_are=masks_are)


def test_masks_of_another_size_are_named(tmp_path):
    for name, data in {"a.png": png(LABELS[1:]), "a.tif": tifffile_bytes(LABELS[1:])}.items():
        with pytest.raises(DataError, match=r"11 x 16 pixels \(height x width\), its image 12 x 16"):
            read(tmp_path / name, {f"masks/{name}": data}).load("a")


def tifffile_bytes(values):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values)
    return buffer.getvalue()


def test_a_coco_file_is_parsed_once(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(mask_files, "parse_json", lambda data, where: parsed.append(where) or parse_json(data, where))
    read(tmp_path, {"masks/x.json": json.dumps(coco_set()).encode()})
    assert len(parsed) == 1


@pytest.mark.parametrize("seed", range(4))
def test_which_masks_are_whose_does_not_depend_on_the_seed_of_hashes(tmp_path, seed):
    """`a` and `a_raw` have one bare name."""
    files = {f"masks/{name}_{k}.png": png((k == LABELS) * np.uint8(255)) for name in ("a", "a_raw") for k in (1, 2)}
    program = (
        "import sys; from kaggle_unet.competitions.folder import Folder as F\n"
        "from kaggle_unet.competitions.competition import CompetitionSettings as S\n"
        "source = F().read(sys.argv[1], S(name='folder'), with_masks=True)\n"
        "print([(key, len(source.masks.files[key])) for key in source.ids])"
    )
    images = {f"images/{name}.png": png(IMAGE) for name in ("a", "a_raw")}
    place = write_folder(tmp_path, images | files)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    found = subprocess.run(
        [sys.executable, "-c", program, place], capture_output=True, text=True, check=False, env=environment
    )
    assert found.stdout == "[('a', 2), ('a_raw', 2)]\n", found.stderr


@pytest.mark.parametrize(
    ("images", "masks", "faulty"),
    [
        (("1", "1_1"), ("1_1", "1_2", "1_1_1", "1_1_2"), True),
        (("1", "1_1"), ("1_1", "1_1_1"), True),
        (("1", "1_1"), ("1_1", "1_2"), True),
        (("1", "1_1", "1_1_1"), ("1", "1_1", "1_1_1"), False),
        (("1", "1_1"), ("1_mask", "1_1_mask"), False),
        (("1", "1_raw"), ("1_1", "1_2", "1_raw_1", "1_raw_2"), False),
    ],
)
def test_a_file_that_may_be_the_mask_of_one_image_or_an_object_of_another_is_refused(tmp_path, images, masks, faulty):
    files = {f"masks/{name}.png": png(LABELS) for name in masks}
    if faulty:
        with pytest.raises(DataError) as fault:
            read(tmp_path, files, images)
        assert any("1_1.png fits two images, '1' and '1_1'" in problem for problem in fault.value.problems)
    else:
        assert {len(found) for found in read(tmp_path, files, images).masks.files.values()} == {
            len(masks) // len(images)
        }


def test_pixels_of_classes_that_do_not_count_are_counted(tmp_path):
    classes = np.where(LABELS == 4, 255, LABELS > 0)
    mask = palette(classes.astype(np.uint8), [0, 0, 0, 255, 0, 0] + [9, 8, 7] * 254)
    loaded = read(tmp_path, {"masks/a.png": mask}, masks_are="classes").load("a")
    counts = {issue.kind: issue.count for issue in loaded.data_issues}
    assert counts["pixels of masks that do not count"] == loaded.ignore.sum() == (LABELS == 4).sum()


def soft(mask, value=255):
    return np.round(ndimage.gaussian_filter(mask * float(value), 1.0)).astype(np.uint8)


def test_soft_edges_are_no_objects(tmp_path):
    big = np.kron(BINARY, np.ones((16, 16), np.uint8))
    images = {"images/b.png": png(big)}
    write_folder(tmp_path / "set", images | {"masks/b.png": png(soft(big > 0))})
    settings = CompetitionSettings(name="folder")
    with pytest.raises(
        DataError, match=r"b\.png has numbers or colours in crumbs, as the soft edges of .*masks_are: binary"
    ):
        Folder().read(str(tmp_path / "set"), settings).load("b")
    source = Folder().read(str(tmp_path / "set"), settings.model_copy(update={"masks_are": "binary"}))
    sample = source.load("b")
    assert "binary masks with soft edges" in {issue.kind for issue in sample.data_issues}
    assert np.count_nonzero((sample.labels > 0) != (big > 0)) < 0.05 * np.count_nonzero(big)

    apart = {f"masks/b/{n}.png": png(soft(components(big > 0) == n)) for n in (1, 2, 3, 4)}
    write_folder(tmp_path / "apart", images | apart)
    sample = Folder().read(str(tmp_path / "apart"), settings).load("b")
    (issue,) = (issue for issue in sample.data_issues if issue.kind == "binary masks with soft edges")
    assert (issue.count, sample.labels.max()) == (4, 4)
    assert np.count_nonzero((sample.labels > 0) != (big > 0)) < 0.05 * np.count_nonzero(big)


@pytest.mark.parametrize("ignore", [None, 255])
def test_labels_of_many_numbers_keep_them_as_binary_masks(tmp_path, ignore):
    labels = np.zeros((45, 40), np.uint8)
    labels[42:] = 255
    for number in range(1, 65):
        labels[(number - 1) // 8 * 5 : (number - 1) // 8 * 5 + 4, (number - 1) % 8 * 5 : (number - 1) % 8 * 5 + 4] = (
            number
        )
    write_folder(tmp_path, {"images/a.png": png(labels), "masks/a.png": png(labels)})
    source = Folder().read(str(tmp_path), CompetitionSettings(name="folder", masks_are="binary", ignore=ignore))
    assert source.load("a").labels.max() == 64 + (ignore is None)
