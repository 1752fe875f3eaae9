"""One's own files: label images, binary masks, subfolders, the folds file."""

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.folder import Folder, read_folds
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import DataError
from tests.files import encode, png, tiff, write_folder, write_zip

SETTINGS = CompetitionSettings(name="folder")
IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)
BINARY = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], np.uint8)
COMPONENTS = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [2, 0, 0, 0]])
GAPS = np.array([[9, 9, 0, 0], [0, 0, 300, 0], [9, 0, 0, 0]], np.uint16)


def load(path, mask, name="masks/a.png"):
    source = Folder().read(write_folder(path / "set", {"images/a.png": png(IMAGE), name: mask}), SETTINGS)
    return source.load("a")


def data_issues(sample):
    return {issue.kind: issue.count for issue in sample.data_issues}


@pytest.mark.parametrize("id_", ["a\rb", "\x1b[31m", "caf\udce9", "x" * 201])
def test_an_id_that_cannot_name_a_file_is_refused_before_anything_is_made(tmp_path, id_):
    files = {f"{folder}/{name}.png": png(IMAGE) for folder in ("images", "masks") for name in (id_, "good")}
    with pytest.raises(DataError, match=r"(?s)fault.*cannot name a file.*rename it"):
        Folder().read(write_folder(tmp_path / "set", files), SETTINGS)


@pytest.mark.parametrize(
    "mask", [png(BINARY), png(BINARY * 255), png(BINARY > 0), png(BINARY * np.uint16(65535)), tiff(BINARY > 0)]
)
def test_components_of_a_binary_mask_are_the_objects(tmp_path, mask):
    sample = load(tmp_path, mask)
    np.testing.assert_array_equal(sample.labels, COMPONENTS)
    assert data_issues(sample) == {"components of binary masks": 2}


def test_label_images_are_renumbered_and_pieces_stay_together(tmp_path):
    sample = load(tmp_path, tiff(GAPS), "masks/a.tif")
    np.testing.assert_array_equal(sample.labels, [[1, 1, 0, 0], [0, 0, 2, 0], [1, 0, 0, 0]])
    assert data_issues(sample) == {"unused numbers in label images": 298, "instances in several pieces": 1}


def test_a_label_image_with_one_object_is_no_binary_mask_unless_its_number_or_all_others_say_so(tmp_path):
    files = {"images/a.png": png(IMAGE), "masks/a.png": png(BINARY * 7)}
    more = {"images/b.png": png(IMAGE), "masks/b.png": png(GAPS)}
    source = Folder().read(write_folder(tmp_path / "two", files | more), SETTINGS)
    np.testing.assert_array_equal(source.load("a").labels, BINARY)
    assert data_issues(source.load("a"))["instances in several pieces"] == 1
    np.testing.assert_array_equal(load(tmp_path, png(BINARY * 7)).labels, COMPONENTS)


def test_an_object_of_number_1_in_one_piece_is_no_issue(tmp_path):
    one = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)
    assert data_issues(load(tmp_path, png(one))) == {}


def test_an_empty_label_image_is_a_sample_without_objects(tmp_path):
    sample = load(tmp_path, png(BINARY * 0))
    assert not sample.labels.any()
    assert data_issues(sample) == {"images without instances": 1}


def test_suffixes_of_image_and_mask_may_differ_and_be_in_capitals(tmp_path):
    files = {"images/a.JPG": encode(IMAGE, "JPEG"), "masks/a.tif": tiff(GAPS), "images/b.bmp": encode(IMAGE, "BMP")}
    files |= {"masks/b.PNG": png(BINARY), "images/Thumbs.txt": b""}
    source = Folder().read(write_zip(tmp_path / "x.zip", files), SETTINGS)
    assert source.ids == ("a", "b")
    assert source.load("a").labels.max() == 2


@pytest.mark.parametrize(
    ("images", "masks", "names"),
    [
        ("raw/input", "raw/labels", ("raw/input/a.png", "raw/labels/a.png")),
        ("", "masks", ("a.png", "masks/a.png")),
        (".", "masks/", ("a.png", "masks/a.png")),
        ("a+b (1)", "masks", ("a+b (1)/a.png", "masks/a.png")),
    ],
)
def test_subfolders_are_those_of_the_config(tmp_path, images, masks, names):
    settings = CompetitionSettings(name="folder", images=images, masks=masks)
    data = write_zip(tmp_path / "x.zip", dict(zip(names, (png(IMAGE), png(BINARY)), strict=True)))
    np.testing.assert_array_equal(Folder().read(data, settings).load("a").labels, COMPONENTS)


def test_two_sets_in_a_zip_must_be_told_apart(tmp_path):
    files = {f"dsb2018/{name}/images/{name}.png": png(IMAGE) for name in ("train", "test")}
    data = write_zip(tmp_path / "x.zip", files)
    with pytest.raises(DataError, match="several sets of images; choose one with --data") as caught:
        Folder().read(data, SETTINGS)
    assert caught.value.problems == (f"{data}:dsb2018/test", f"{data}:dsb2018/train")
    assert Folder().read(f"{data}:dsb2018/train", SETTINGS).ids == ("train",)


def test_two_masks_of_one_image_are_a_fault(tmp_path):
    files = {"images/a.png": png(IMAGE), "masks/a.png": png(BINARY), "masks/a.tif": tiff(BINARY)}
    with pytest.raises(DataError, match=r"id 'a' occurs twice: .*masks/a\.png and .*masks/a\.tif"):
        Folder().read(write_zip(tmp_path / "x.zip", files), SETTINGS)


def test_ids_that_differ_in_case_alone_are_a_fault(tmp_path):
    files = {"images/a.png": png(IMAGE), "images/A.png": png(IMAGE)}
    with pytest.raises(DataError, match=r"id 'a' occurs twice"):
        Folder().read(write_zip(tmp_path / "x.zip", files), SETTINGS)


def test_folds_keep_ids_as_text_and_leave_out_empty_ones_and_strangers(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("id,fold,why\n007,0,\n1e5,1,\nc,,broken\nstranger,2,\n")
    assert read_folds(path, ("007", "1e5", "c")) == {"007": 0, "1e5": 1}


def test_all_faults_of_a_folds_file_are_named(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("id,fold\na,0\na,1\nb,-1\n")
    with pytest.raises(DataError, match=r"folds\.csv does not fit the data") as caught:
        read_folds(path, ("a", "b", "c"))
    assert caught.value.problems == (
        "id 'a' occurs 2 times",
        "sample 'c' has no row; add one, with an empty fold to leave the sample out",
        "id 'b': fold '-1' is not a whole number from 0",
    )


def test_composed_and_decomposed_ids_are_one_in_folds_files_and_in_every_other_table(tmp_path):
    path = tmp_path / "folds.csv"
    for written, ids in (("e\u0301,0\nü,1\n", ("é", "ü")), ("é,0\nü,1\n", ("e\u0301", "u\u0308"))):
        path.write_text(f"id,fold\n{written}")
        assert read_folds(path, ids) == dict(zip(ids, (0, 1), strict=True))
    (tmp_path / "truth.csv").write_text("ImageId,EncodedPixels,Height,Width\ne\u0301,1 2,3,4\nu\u0308,1 1,3,4\n")
    skipping = SETTINGS.model_copy(update={"skip": ("u\u0308",)})
    assert list(read_truth(str(tmp_path / "truth.csv"), Folder(), skipping)) == ["é"]


def test_a_folds_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the folds file .*folds\.csv: No such file"):
        read_folds(tmp_path / "folds.csv", ())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_sizes_are_read_from_headers_in_a_zip_without_the_rest_of_the_file(tmp_path, dtype):
    data = tiff(np.zeros((40, 30), dtype))
    cut = png(np.random.default_rng(0).integers(0, 256, (50, 20), np.uint8))[:500]
    path = write_zip(tmp_path / "a.zip", {"images/a.tif": data, "images/cut.png": cut})
    source = Folder().read(path, SETTINGS)

    assert (source.shape("a"), source.shape("cut")) == ((40, 30), (50, 20))
