"""`convert`: labels stay equal from every format to every other; what is lost is counted."""

import io
import json
from itertools import permutations

import numpy as np
import pytest

from kaggle_unet.cli import main
from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.label_files import LABEL_FORMATS, write_labels
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.tiff import read_pixel_size
from kaggle_unet.steps.convert import convert
from kaggle_unet.synthetic.images import draw_nuclei
from tests.files import png, write_folder, write_zip

SETTINGS = CompetitionSettings(name="folder")
RING = np.zeros((48, 56), np.int32)
RING[4:20, 4:20], RING[8:12, 8:12], RING[12, 12] = 2, 0, 0  # a hole, and a notch that meets it at a corner
RING[30:40, 3:9], RING[30:40, 20:26], RING[9:11, 9:11] = 3, 3, 1  # two pieces; an object inside the hole
LABELS = {
    "a": draw_nuclei(np.random.default_rng(0), (48, 56))[1],
    "b.c": RING,
    "empty": np.zeros((20, 10), np.int32),
}


def place(folder, format):
    return folder / (f"{format}{LABEL_FORMATS[format].suffix}" if LABEL_FORMATS[format].holds_many else format)


def with_images(folder):
    """Put images beside, for formats that do not say the size."""
    return write_folder(folder, {f"images/{key}.png": png(np.zeros(x.shape, np.uint8)) for key, x in LABELS.items()})


def read(data, **settings):
    settings = SETTINGS.model_copy(update=settings)
    return dict(read_truth(str(data), get_competition("folder"), settings))


def check(found):
    assert list(found) == sorted(LABELS)
    for key, labels in LABELS.items():
        np.testing.assert_array_equal(found[key], labels, err_msg=key)


@pytest.mark.parametrize(("first", "second"), [*permutations(LABEL_FORMATS, 2)])
def test_labels_are_equal_from_every_format_to_every_other(tmp_path, first, second):
    folder = tmp_path / "set"
    with_images(folder)
    write_labels(LABELS, place(folder, first), first)
    settings = SETTINGS.model_copy(update={"masks": place(folder, first).name, "masks_are": masks_are(first)})

    result = convert(str(folder), place(folder, second), second, settings)

    assert (result.images, result.objects) == (3, sum(int(labels.max()) for labels in LABELS.values()))
    check(read(folder, masks=place(folder, second).name, masks_are=masks_are(second)))


def masks_are(format):
    """Return the kind, of label images too, since those of one object each could be binary."""
    return {"geojson": "geojson", "coco": "coco", "imagej": "rois", "rle": "rle"}.get(format, "labels")


@pytest.mark.parametrize("format", [name for name in LABEL_FORMATS if name != "imagej"])
def test_labels_are_read_without_images_where_a_format_says_their_size(tmp_path, format):
    write_labels(LABELS, place(tmp_path, format), format)
    check(read(place(tmp_path, format)))


@pytest.mark.parametrize("format", ["tiff", "coco", "geojson", "ome-tiff"])
def test_one_file_will_do(tmp_path, format):
    path = tmp_path / f"x{LABEL_FORMATS[format].suffix}"
    write_labels(RING, path, format)
    ((key, labels),) = read(path).items()
    np.testing.assert_array_equal(labels, RING)
    assert key == "x"


def test_selections_need_the_images_for_their_size(tmp_path):
    write_labels(LABELS, tmp_path / "rois", "imagej")
    with pytest.raises(DataError, match=r"does not say its image's size; give the images as well"):
        read(tmp_path / "rois")
    with pytest.raises(DataError, match=r"does not say its image's size"):
        read(tmp_path / "rois/a.zip")


def test_what_is_lost_is_counted(tmp_path):
    boxes = [[[1, 1, 9, 1, 9, 9, 1, 9]], [[5, 5, 12, 5, 12, 12, 5, 12]]]
    annotations = [{"id": i, "image_id": 1, "category_id": i, "segmentation": box} for i, box in enumerate(boxes)]
    annotations.append(annotations[0] | {"iscrowd": 1, "segmentation": [[14, 0, 16, 0, 16, 3, 14, 3]]})
    images = [{"id": 1, "file_name": "a.png", "height": 16, "width": 16}]
    (tmp_path / "x.json").write_text(json.dumps({"images": images, "annotations": annotations}))

    result = convert(str(tmp_path / "x.json"), tmp_path / "out", "png", SETTINGS)

    assert {kind: n for kind, n, _ in result.found} == {
        "overlapping pixels of masks": 16, "categories of objects": 2, "pixels of masks that do not count": 6,
    }  # fmt: skip
    assert result.leaves_out.startswith("ids above 65,535")


@pytest.mark.parametrize(
    ("output", "format"),
    [("out", "coco"), ("out.tif", "tiff"), ("out.csv", "coco"), ("a.ome.tif", "ome-tiff"), ("a.json", "geojson")],
)
def test_a_place_that_does_not_fit_the_format_is_refused(tmp_path, output, format):
    with pytest.raises(ConfigError, match=rf"{output}: {format} is written to a f"):
        convert(str(tmp_path), tmp_path / output, format, SETTINGS)


@pytest.mark.parametrize(
    ("data", "output", "format"), [("x", "x/masks", "png"), ("x", "x/images", "png"), ("x/masks", "x/masks", "png"),
     ("y", "y/x.json", "coco"), ("z/a.zip", "z", "imagej")],
)  # fmt: skip
def test_files_that_are_read_are_not_overwritten(tmp_path, data, output, format):
    files = {f"{place}/a.png": png(np.eye(9, dtype=np.uint8)) for place in ("images", "masks")}
    write_folder(tmp_path / "x", files)
    write_labels(LABELS, tmp_path / "y/x.json", "coco")
    (tmp_path / "z").mkdir()
    write_zip(tmp_path / "z/a.zip", files)
    with pytest.raises(
        ConfigError, match=r"images.a\.png is there but no \.convert\.json: kaggle-unet did not write it"
    ):
        convert(str(tmp_path / "x/masks"), tmp_path / "x/images", "png", SETTINGS)
    with pytest.raises(ConfigError, match="would overwrite a file that is read"):
        convert(str(tmp_path / data), tmp_path / output, format, SETTINGS)
    convert(str(tmp_path / "x"), tmp_path / "x/new", "png", SETTINGS)
    convert(str(tmp_path / "x"), tmp_path / "x/new", "png", SETTINGS)  # its own files


def test_the_size_of_pixels_is_each_files_unless_it_is_given(tmp_path):
    def sizes(folder):
        return {path.name: read_pixel_size(io.BytesIO(path.read_bytes())) for path in folder.glob("*.tif")}

    write_labels(RING, tmp_path / "in/a.ome.tif", "ome-tiff", pixel_size=(0.5, 0.25))
    write_labels(RING, tmp_path / "in/b.ome.tif", "ome-tiff")
    convert(str(tmp_path / "in"), tmp_path / "out", "ome-tiff", SETTINGS)
    assert sizes(tmp_path / "out") == {"a.ome.tif": (0.5, 0.25), "b.ome.tif": None}
    convert(str(tmp_path / "in"), tmp_path / "given", "ome-tiff", SETTINGS, pixel_size=2.0)
    assert sizes(tmp_path / "given") == {"a.ome.tif": (2.0, 2.0), "b.ome.tif": (2.0, 2.0)}
    images = {"images/c.tif": (tmp_path / "in/a.ome.tif").read_bytes(), "masks/c.png": png(np.uint8(RING))}
    convert(str(write_folder(tmp_path / "x", images)), tmp_path / "of_image", "tiff", SETTINGS)
    assert sizes(tmp_path / "of_image")["c.tif"] == pytest.approx((0.5, 0.25))


def test_the_verb_says_what_it_did(tmp_path, capsys):
    write_labels(LABELS, tmp_path / "in", "tiff")
    with pytest.raises(SystemExit) as end:
        main(["convert", str(tmp_path / "in"), str(tmp_path / "all.json"), "--to", "coco"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "all.json: 3 images" in said
    assert "this format does not hold ids" in said
    with pytest.raises(SystemExit) as end:
        main(["convert", str(tmp_path / "all.json"), str(tmp_path / "x"), "--to", "geojson", "--json"])
    assert json.loads(capsys.readouterr().out)["images"] == 3
    with pytest.raises(SystemExit) as end:
        main(["convert", str(tmp_path / "all.json"), str(tmp_path / "x"), "--to", "geojson", "--masks-are", "rois"])
    assert end.value.code == 3
