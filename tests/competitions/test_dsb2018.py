"""Nuclei: what happens to masks on the way to labels."""

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.dsb2018 import Dsb2018
from kaggle_unet.errors import DataError
from tests.files import png, write_folder, write_zip, zipped

SETTINGS = CompetitionSettings(name="dsb2018")
IMAGE = np.arange(20, dtype=np.uint8).reshape(4, 5)
LARGE = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.uint8)
SMALL = np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.uint8)
RING = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 1, 0, 1], [0, 0, 1, 1, 1]], np.uint8)
PARTS = np.array([[1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.uint8)


def load(path, *masks, image=IMAGE):
    files = {"a/images/a.png": png(image)} | {f"a/masks/{i}.png": png(mask * 255) for i, mask in enumerate(masks)}
    return Dsb2018().read(write_zip(path / "stage1_train.zip", files), SETTINGS).load("a")


def data_issues(sample):
    return {issue.kind: issue.count for issue in sample.data_issues}


@pytest.mark.parametrize("masks", [(LARGE, SMALL), (SMALL, LARGE)])
def test_contested_pixels_go_to_the_smaller_mask_and_are_counted(tmp_path, masks):
    sample = load(tmp_path, *masks)
    assert data_issues(sample) == {"overlapping pixels of masks": 1}
    assert sample.labels[0, 2] == sample.labels[0, 3] != sample.labels[0, 1]
    assert (sample.labels > 0).sum() == 7


def test_empty_masks_are_dropped_and_counted(tmp_path):
    sample = load(tmp_path, SMALL * 0, SMALL, SMALL * 0)
    assert data_issues(sample) == {"masks without a pixel of their own": 2}
    np.testing.assert_array_equal(sample.labels, SMALL)


def test_holes_stay_and_are_counted(tmp_path):
    sample = load(tmp_path, RING)
    assert data_issues(sample) == {"instances with holes": 1}
    np.testing.assert_array_equal(sample.labels, RING)


def test_pieces_stay_one_nucleus_and_are_counted(tmp_path):
    sample = load(tmp_path, PARTS)
    assert data_issues(sample) == {"instances in several pieces": 1}
    np.testing.assert_array_equal(sample.labels, PARTS)


def test_more_than_255_nuclei_keep_their_numbers(tmp_path):
    dots = [np.zeros((30, 30), np.uint8) for _ in range(300)]
    for i, dot in enumerate(dots):
        dot.flat[3 * i] = 1
    sample = load(tmp_path, *dots, image=np.zeros((30, 30), np.uint8))
    assert sample.labels.max() == 300
    assert data_issues(sample)["more than 255 instances"] == 300


def test_an_empty_masks_folder_stands_for_no_nuclei(tmp_path):
    files = {"a/images/a.png": png(IMAGE), "b/images/b.png": png(IMAGE), "b/masks/x.png": png(SMALL)}
    folder = write_folder(tmp_path / "train", files)
    (tmp_path / "train" / "a" / "masks").mkdir()
    for data in (folder, write_zip(tmp_path / "train.zip", files | {"a/masks/": b""})):
        sample = Dsb2018().read(data, SETTINGS).load("a")
        assert not sample.labels.any()
        assert data_issues(sample) == {"images without instances": 1}


def test_an_image_without_masks_folder_is_a_fault(tmp_path):
    files = {"a/images/a.png": png(IMAGE), "b/images/b.png": png(IMAGE), "b/masks/x.png": png(SMALL)}
    with pytest.raises(DataError, match=r"a/images/a\.png has no masks; expected <id>/masks/\*\.png, or stage1_train"):
        Dsb2018().read(write_zip(tmp_path / "train.zip", files), SETTINGS)


def test_an_image_named_unlike_its_folder_is_a_fault(tmp_path):
    files = {"a/images/a.png": png(IMAGE), "a/images/b.png": png(IMAGE)}
    with pytest.raises(DataError, match=r"a/images/b\.png is not read; expected <id>/images/<id>\.png"):
        Dsb2018().read(write_zip(tmp_path / "test.zip", files), SETTINGS)


def test_all_faulty_masks_of_a_sample_are_named(tmp_path):
    files = {"a/images/a.png": png(IMAGE), "a/masks/0.png": b"", "a/masks/1.png": png(SMALL)}
    files |= {"a/masks/2.png": png(SMALL[:3]), "a/masks/3.png": png(SMALL)[:50]}
    with pytest.raises(DataError, match="3 masks cannot be used") as caught:
        Dsb2018().read(write_zip(tmp_path / "train.zip", files), SETTINGS).load("a")
    empty, size, cut = caught.value.problems
    assert "a/masks/0.png is empty" in empty
    assert "a/masks/2.png has 3 x 5 pixels (height x width), its image 4 x 5" in size
    assert "a/masks/3.png is damaged or truncated" in cut


# Column-major numbers of a 4 x 5 image: SMALL is pixels 9 and 13, LARGE 1, 2, 5, 6, 9, 10.
LABELS_CSV = b"ImageId,EncodedPixels\na,1 2 5 2 9 2\na,9 1 13 1\nb,\nz,1 1\n"


@pytest.mark.parametrize("way", ["inside", "beside", "zipped beside", "outer"])
def test_the_labels_csv_gives_the_masks_where_there_are_no_files(tmp_path, way):
    files = {"a/images/a.png": png(IMAGE), "b/images/b.png": png(IMAGE)}
    name, data = "stage1_train_labels.csv", str(tmp_path / "stage1_train.zip")
    if way == "outer":
        inner = {"stage1_train.zip": zipped(files), f"{name}.zip": zipped({name: LABELS_CSV})}
        data = write_zip(tmp_path / "data-science-bowl-2018.zip", inner)
    else:
        write_zip(tmp_path / "stage1_train.zip", files | ({f"x/{name}": LABELS_CSV} if way == "inside" else {}))
        if way == "beside":
            (tmp_path / name).write_bytes(LABELS_CSV)
        elif way == "zipped beside":
            write_zip(tmp_path / f"{name}.zip", {name: LABELS_CSV})
    source = Dsb2018().read(data, SETTINGS)
    np.testing.assert_array_equal(source.load("a").labels, LARGE * 1 + SMALL * (2 - LARGE))
    assert data_issues(source.load("a")) == {"overlapping pixels of masks": 1}
    assert not source.load("b").labels.any()


def test_images_that_the_labels_csv_lacks_are_faults(tmp_path):
    (tmp_path / "stage1_train_labels.csv").write_bytes(LABELS_CSV)
    files = {"a/images/a.png": png(IMAGE), "c/images/c.png": png(IMAGE)}
    with pytest.raises(DataError, match=r"c/images/c\.png has no masks"):
        Dsb2018().read(write_zip(tmp_path / "x.zip", files), SETTINGS)


def test_a_test_set_beside_the_labels_csv_has_no_masks(tmp_path):
    (tmp_path / "stage1_train_labels.csv").write_bytes(LABELS_CSV)
    data = write_zip(tmp_path / "stage1_test.zip", {"c/images/c.png": png(IMAGE)})
    assert Dsb2018().read(data, SETTINGS).masks is None


def test_a_code_that_does_not_fit_is_an_error_of_its_sample(tmp_path):
    (tmp_path / "stage1_train_labels.csv").write_bytes(b"ImageId,EncodedPixels\na,20 2\n")
    source = Dsb2018().read(write_zip(tmp_path / "x.zip", {"a/images/a.png": png(IMAGE)}), SETTINGS)
    with pytest.raises(DataError, match=r"stage1_train_labels\.csv: id 'a': .*'20 2'"):
        source.load("a")


def test_two_test_sets_must_be_told_apart(tmp_path):
    files = zipped({"a/images/a.png": png(IMAGE)})
    names = ("stage1_test.zip", "stage1_train.zip", "stage2_test_final.zip")
    data = write_zip(tmp_path / "outer.zip", dict.fromkeys(names, files))
    with pytest.raises(DataError, match="several sets of images; choose one with --data") as caught:
        Dsb2018().read(data, SETTINGS, with_masks=False)
    assert caught.value.problems == tuple(f"{data}:{name}" for name in names)
    assert Dsb2018().read(f"{data}:stage2_test_final.zip", SETTINGS, with_masks=False).ids == ("a",)
    assert Dsb2018().read(data, SETTINGS).archive.where() == f"{data}:stage1_train.zip"


def test_an_unpacked_set_comes_before_its_zip(tmp_path):
    files = {"stage1_train/a/images/a.png": png(IMAGE), "stage1_train.zip": zipped({"b/images/b.png": png(IMAGE)})}
    assert Dsb2018().read(write_folder(tmp_path / "all", files), SETTINGS).ids == ("a",)


def test_kinds_are_those_of_the_paper_in_short(tmp_path):
    assert load(tmp_path, SMALL).kind == "gray-dark"
    assert load(tmp_path, SMALL, image=255 - IMAGE).kind == "gray-bright"
    assert load(tmp_path, SMALL, image=np.dstack([IMAGE, IMAGE, 255 - IMAGE])).kind == "colour"
