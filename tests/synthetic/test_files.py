"""Drawn files are what Kaggle's are."""

import csv
import io
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from kaggle_unet.synthetic.files import write_dsb_zip, write_folder, write_tgs_zip


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def open_image(data):
    return Image.open(io.BytesIO(data))


def read_rows(path):
    return list(csv.reader(io.StringIO(path.read_text())))


def test_dsb_images_are_rgba_and_lie_where_kaggle_puts_them(tmp_path):
    truth = write_dsb_zip(tmp_path / "new" / "train.zip", 1, 3, shape=(48, 64))
    files = read_zip(tmp_path / "new" / "train.zip")
    assert len(truth) == 3
    for id_ in truth:
        assert len(id_) == 64
        image = open_image(files[f"{id_}/images/{id_}.png"])
        assert (image.mode, image.size) == ("RGBA", (64, 48))
        assert np.asarray(image)[..., 3].min() == 255
    assert {name.split("/")[1] for name in files} == {"images", "masks"}


def test_dsb_masks_are_one_png_per_nucleus_and_make_up_the_truth(tmp_path):
    truth = write_dsb_zip(tmp_path / "train.zip", 1, 2, shape=(64, 64))
    files = read_zip(tmp_path / "train.zip")
    for id_, labels in truth.items():
        masks = [open_image(data) for name, data in files.items() if name.startswith(f"{id_}/masks/")]
        assert len(masks) == labels.max() > 0
        assert {mask.mode for mask in masks} == {"L"}
        assert all(set(np.unique(mask)) == {0, 255} for mask in masks)
        expected = np.zeros(labels.shape, int)
        for number, mask in enumerate(masks, start=1):
            expected[np.asarray(mask) > 0] = number
        np.testing.assert_array_equal(expected, labels)


def test_dsb_test_zip_has_no_masks_but_the_truth_is_known(tmp_path):
    truth = write_dsb_zip(tmp_path / "test.zip", 2, 2, with_masks=False, shape=(64, 64))
    assert sorted(read_zip(tmp_path / "test.zip")) == sorted(f"{id_}/images/{id_}.png" for id_ in truth)
    assert all(labels.max() > 0 for labels in truth.values())


def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_images(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_dsb_zip(tmp_path / name, seed, 2, shape=(48, 48))
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {info.date_time for info in archive.infolist()} == {(2018, 4, 16, 0, 0, 0)}
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_kinds_of_images_come_in_turn(tmp_path):
    write_dsb_zip(tmp_path / "z", 1, 3, shape=(64, 64), kinds=("gray-dark", "gray-bright", "colour"), with_masks=False)
    images = [np.asarray(open_image(data))[..., :3].astype(int) for data in read_zip(tmp_path / "z").values()]
    assert [bool(np.ptp(image, axis=2).any()) for image in images] == [False, False, True]
    assert [bool(np.median(image) > 127) for image in images] == [False, True, True]


def test_tgs_files_have_kaggles_pixel_formats(tmp_path):
    truth = write_tgs_zip(tmp_path / "train.zip", 1, 40)
    files = read_zip(tmp_path / "train.zip")
    assert len(files) == 80
    for id_, salt in truth.items():
        image, mask = open_image(files[f"images/{id_}.png"]), open_image(files[f"masks/{id_}.png"])
        assert (image.mode, image.size) == ("RGB", (101, 101))
        assert mask.mode == ("I;16" if salt.any() else "L")
        np.testing.assert_array_equal(np.asarray(mask) > 0, salt > 0)
        assert np.asarray(mask).max() == (65535 if salt.any() else 0)


def test_tgs_csvs_cover_both_zips_and_agree_with_the_masks(tmp_path):
    train = write_tgs_zip(tmp_path / "train.zip", 1, 6)
    test = write_tgs_zip(tmp_path / "test.zip", 2, 4, with_masks=False)
    depths = read_rows(tmp_path / "depths.csv")
    assert depths[0] == ["id", "z"]
    assert [row[0] for row in depths[1:]] == [*train, *test]
    assert all(50 <= int(row[1]) < 960 for row in depths[1:])
    codes = dict(read_rows(tmp_path / "train.csv")[1:])
    assert codes.keys() == train.keys()
    for id_, salt in train.items():
        runs = np.array(codes[id_].split(), int).reshape(-1, 2)
        assert runs[:, 1].sum() == salt.sum()
        assert all(salt.ravel(order="F")[start - 1] for start, _ in runs)
    assert not any("masks" in name for name in read_zip(tmp_path / "test.zip"))


def test_writing_a_tgs_zip_again_does_not_repeat_its_depths(tmp_path):
    for _ in range(2):
        write_tgs_zip(tmp_path / "train.zip", 1, 5)
    assert len(read_rows(tmp_path / "depths.csv")) == 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_folder_holds_images_and_label_images_of_16_bits(tmp_path, suffix):
    truth = write_folder(tmp_path, 1, 2, shape=(48, 64), kinds=("gray-dark", "colour"), suffix=suffix)
    read = tifffile.imread if suffix == "tif" else lambda path: np.asarray(Image.open(path))
    shapes = [read(path).shape for path in sorted((tmp_path / "images").iterdir())]
    assert shapes == [(48, 64), (48, 64, 3)]
    for id_, labels in truth.items():
        stored = read(tmp_path / "masks" / f"{id_}.{suffix}")
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, labels)
