"""Truth from CSV files: solutions, training labels, ignored rows."""

import json

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import DataError
from tests.files import png, tiff, write_folder, write_zip, zipped

STAGE2 = """ImageId,EncodedPixels,Height,Width,Usage
b,1 2,2,3,Private
b,5 2,2,3,Private
x,1 0,1,1,Ignored
y,,2,2,Ignored
a,,2,2,Private
b,,2,3,Ignored
z,1 1,,,Ignored
"""


def read(path, name="dsb2018", **settings):
    return read_truth(str(path), get_competition(name), CompetitionSettings(name=name, **settings))


def write(path, text):
    path.write_text(text)
    return path


def test_ignored_rows_of_stage_2_are_dropped_with_their_images(tmp_path):
    truth = read(write(tmp_path / "stage2_solution_final.csv", STAGE2.replace("2,3,P", "2.0,3.0,P")))
    assert list(truth) == ["a", "b"]
    assert len(truth) == 2
    np.testing.assert_array_equal(truth["b"], [[1, 0, 2], [1, 0, 2]])
    np.testing.assert_array_equal(truth["a"], np.zeros((2, 2)))
    assert truth["b"].dtype == np.int32
    with pytest.raises(KeyError):
        truth["x"]


@pytest.mark.parametrize("way", ["zip", "inside", "zip inside"])
def test_a_csv_may_be_zipped_or_inside_a_zip(tmp_path, way):
    if way == "zip":
        data = write_zip(tmp_path / "s.csv.zip", {"s.csv": STAGE2.encode()})
    elif way == "inside":
        data = write_zip(tmp_path / "outer.zip", {"s.csv": STAGE2.encode(), "t.csv": b""}) + ":s.csv"
    else:
        inner = {"s.csv.zip": zipped({"s.csv": STAGE2.encode()})}
        data = write_zip(tmp_path / "outer.zip", inner) + ":s.csv.zip"
    assert list(read(data)) == ["a", "b"]


def test_skipped_ids_are_not_in_the_truth(tmp_path):
    assert list(read(write(tmp_path / "s.csv", STAGE2), skip=("a",))) == ["b"]


def test_salt_needs_no_sizes_and_is_one_object(tmp_path):
    truth = read(write(tmp_path / "train.csv", "id,rle_mask\n0012,1 2 10201 1\nb,\n"), "tgs")
    assert truth["0012"].shape == (101, 101)
    assert truth["0012"].sum() == 3
    assert truth["0012"][100, 100] == 1
    assert not truth["b"].any()


def test_nuclei_without_sizes_are_refused_with_the_remedy(tmp_path):
    path = write(tmp_path / "stage1_train_labels.csv", "ImageId,EncodedPixels\na,1 2\n")
    with pytest.raises(DataError, match=r"no columns Height and Width.*give the images instead"):
        read(path)


def test_all_faulty_codes_are_named(tmp_path):
    text = "ImageId,EncodedPixels,Height,Width\na,1 9,2,2\nb,x,2,2\na,1 1,2,3\n"
    with pytest.raises(DataError, match=r"s\.csv: 3 errors in its masks") as caught:
        read(write(tmp_path / "s.csv", text))
    assert [problem[:14] for problem in caught.value.problems] == ["line 2, id 'a'", "line 3, id 'b'", "line 4, id 'a'"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("ImageId,Height,Width\n", "EncodedPixels missing"),
        ("ImageId,EncodedPixels,Height,Width\n", "has no scored rows"),
        ("ImageId,EncodedPixels,Height,Width\na,1 1,two,2\n", "line 2: size 'two' x '2'; expected whole numbers"),
    ],
)
def test_a_csv_that_is_no_truth_is_named(tmp_path, text, match):
    with pytest.raises(DataError, match=rf"s\.csv.*{match}"):
        read(write(tmp_path / "s.csv", text))


def test_a_zip_with_two_tables_is_no_csv(tmp_path):
    with pytest.raises(DataError, match="holds 2 CSV files, expected one"):
        read(write_zip(tmp_path / "s.csv.zip", {"s.csv": b"", "t.csv": b""}))


def test_overlapping_truth_is_parted_by_the_smaller_mask(tmp_path):
    text = "ImageId,EncodedPixels,Height,Width\na,1 3,1,4\na,3 1,1,4\n"
    np.testing.assert_array_equal(read(write(tmp_path / "s.csv", text))["a"], [[1, 1, 2, 0]])


def test_images_without_masks_are_no_truth(tmp_path):
    image = png(np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="has no masks"):
        read(write_zip(tmp_path / "stage1_test.zip", {"a/images/a.png": image}))


def test_an_unknown_id_is_a_key_error(tmp_path):
    files = {"a/images/a.png": png(np.zeros((2, 2), np.uint8)), "a/masks/1.png": png(np.ones((2, 2), np.uint8))}
    truth = read(write_zip(tmp_path / "stage1_train.zip", files))
    assert len(truth) == 1
    with pytest.raises(KeyError):
        truth["b"]


def test_files_of_labels_are_truth_without_images(tmp_path):
    write_folder(
        tmp_path / "x", {"a.png": png(np.array([[0, 5, 9]], np.uint8)), "b_mask.png": png(np.ones((1, 3), bool))}
    )
    truth = read(tmp_path / "x", "folder")
    assert list(truth) == ["a", "b"]
    np.testing.assert_array_equal(truth["a"], [[0, 1, 2]])


def test_a_table_of_codes_alone_in_a_folder_or_a_zip_is_truth_without_images(tmp_path):
    files = {"rle.csv": b"ImageId,EncodedPixels,Height,Width\na,1 5,10,10\nb,,10,10\n"}
    for data in (write_folder(tmp_path / "x", files), write_zip(tmp_path / "x.zip", files)):
        assert {id_: labels.sum() for id_, labels in read(data, "folder").items()} == {"a": 5, "b": 0}


def test_the_labels_in_a_results_folder_are_found(tmp_path):
    files = {"labels/a.png": png(np.array([[0, 5, 9]], np.uint8)), "measurements.csv": b"id,n\na,2\n"}
    assert list(read(write_folder(tmp_path / "x", files), "folder")) == ["a"]


def test_a_place_without_labels_and_two_files_for_an_image_are_named(tmp_path):
    with pytest.raises(DataError, match=r"has neither images nor labels; it holds: x\.txt"):
        read(write_folder(tmp_path / "x", {"x.txt": b""}), "folder")
    with pytest.raises(DataError, match="has two files for an image, or unread ones; convert or remove them"):
        read(
            write_folder(tmp_path / "y", {"a.png": png(np.eye(3, dtype=np.uint8)), "a.tif": tiff(np.eye(3))}), "folder"
        )


@pytest.mark.parametrize("other", ["b.npy", "c.jp2", "more/d.czi"])
def test_a_file_of_another_kind_beside_labels_is_named(tmp_path, other):
    folder = write_folder(tmp_path / "x", {"a.png": png(np.eye(3, dtype=np.uint8)), other: b"x", "a.txt": b""})
    with pytest.raises(
        DataError, match=rf"has two files for an image, or unread ones.*\n.*{other} is not read; expected label images"
    ):
        read(folder, "folder")
    assert list(read(f"{folder}/a.png", "folder")) == ["a"]


def test_images_may_lie_beside_their_annotations(tmp_path):
    shape = {"image": {"height": 3, "width": 3}, "features": []}
    files = {"a.geojson": json.dumps(shape).encode(), "a.png": png(np.eye(3, dtype=np.uint8))}
    assert list(read(write_folder(tmp_path / "x", files), "folder")) == ["a"]


@pytest.mark.parametrize("top", ["", "masks/"])
def test_files_and_folders_of_labels_side_by_side_are_refused(tmp_path, top):
    image = png(np.eye(3, dtype=np.uint8))
    folder = write_folder(tmp_path / "x", {f"{top}a.png": image, f"{top}more/c.png": image, f"{top}more/d.png": image})
    with pytest.raises(DataError, match=r"holds both files and folders of masks") as caught:
        read(folder, "folder")
    assert [problem[-10:] for problem in caught.value.problems] == ["more/c.png", "more/d.png"]


def test_images_of_one_name_in_several_folders_are_refused(tmp_path):
    names = ["s1/0.png", "s2/0.jpg"]
    images = [{"id": k, "file_name": name, "height": 4, "width": 5} for k, name in enumerate(names)]
    coco = json.dumps({"images": images, "annotations": []}).encode()
    with pytest.raises(DataError, match=r"x\.json lists several images that differ.*\n  - 0$"):
        read(write_folder(tmp_path / "x", {"x.json": coco}), "folder")
    rles = b"id,rle\na.png,1 2\na.tif,3 4\n"
    with pytest.raises(DataError, match=r"x\.csv lists several images that differ.*\n  - a$"):
        read(write_folder(tmp_path / "y", {"x.csv": rles, "images/a.png": png(np.eye(3, dtype=np.uint8))}), "folder")
