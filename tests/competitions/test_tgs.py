"""Salt: masks of mixed depth, codes instead of files, depths, tiles without content."""

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.tgs import Tgs
from kaggle_unet.errors import DataError
from tests.files import png, write_folder, write_zip, zipped

SETTINGS = CompetitionSettings(name="tgs")
TILE = np.arange(12, dtype=np.uint8).reshape(3, 4)
SALT = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1]], np.uint8)
SALT_RLE = "1 2 4 1 11 2"  # column-major, from 1
IDS = ("00441", "8e13060816", "black")
IMAGES = {f"images/{key}.png": png(TILE * (key != "black"), mode="RGB") for key in IDS}
MASKS = {"masks/00441.png": png(SALT * np.uint16(65535)), "masks/8e13060816.png": png(SALT * np.uint8(255))}
MASKS["masks/black.png"] = png(SALT * 0)
DEPTHS = b"id,z\n8e13060816,306\nzzz,5\n00441,51.5\n"
CODES = f"id,rle_mask\n8e13060816,{SALT_RLE}\nblack,\n00441,{SALT_RLE}\n".encode()


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(Tgs, "fixed_shape", TILE.shape)


def test_a_tile_of_another_size_is_refused_by_its_header_and_by_its_pixels(tmp_path, monkeypatch):
    monkeypatch.undo()
    tiles = {"images/a.png": png(np.zeros((100, 101), np.uint8)), "images/b.png": png(np.zeros((101, 101), np.uint8))}
    source = Tgs().read(write_zip(tmp_path / "test.zip", tiles), SETTINGS)
    for read in (source.load, source.shape):
        with pytest.raises(DataError, match=r"a\.png has 100 × 101 pixels; expected 101 × 101"):
            read("a")
        read("b")


def test_masks_of_any_bit_depth_are_salt_above_0(tmp_path):
    source = Tgs().read(write_zip(tmp_path / "train.zip", IMAGES | MASKS), SETTINGS)
    np.testing.assert_array_equal(source.load("00441").labels, SALT)
    np.testing.assert_array_equal(source.load("8e13060816").labels, SALT)
    np.testing.assert_array_equal(source.load("black").labels, SALT * 0)
    np.testing.assert_array_equal(source.load("00441").image, TILE)


def test_codes_of_train_csv_give_the_same_labels(tmp_path):
    (tmp_path / "train.csv").write_bytes(CODES)
    source = Tgs().read(write_zip(tmp_path / "train.zip", IMAGES), SETTINGS, with_masks=True)
    np.testing.assert_array_equal(source.load("00441").labels, SALT)
    assert not source.load("black").labels.any()


def test_a_changed_code_changes_the_fingerprint(tmp_path):
    data = write_zip(tmp_path / "train.zip", IMAGES)
    (tmp_path / "train.csv").write_bytes(CODES)
    before = Tgs().read(data, SETTINGS).fingerprint()
    (tmp_path / "train.csv").write_bytes(CODES.replace(b"1 2 4 1", b"1 2 4 2"))
    assert Tgs().read(data, SETTINGS).fingerprint() != before


def test_tiles_without_content_are_black(tmp_path):
    source = Tgs().read(write_zip(tmp_path / "train.zip", IMAGES | MASKS), SETTINGS)
    assert [source.load(key).kind for key in IDS] == ["seismic", "seismic", "black"]


def test_masks_that_cannot_be_are_kept_and_noted(tmp_path):
    odd = MASKS | {"masks/black.png": png(SALT), "masks/00441.png": png(SALT * 0 + 1)}
    source = Tgs().read(write_zip(tmp_path / "train.zip", IMAGES | odd), SETTINGS)
    assert "masks on images of one gray value" in [found.kind for found in source.load("black").data_issues]
    assert "masks that cover the whole image" in [found.kind for found in source.load("00441").data_issues]
    assert source.load("00441").labels.all()


@pytest.mark.parametrize("way", ["beside", "inside", "outer", "unpacked"])
def test_depths_are_found_and_those_missing_are_noted(tmp_path, way):
    files = IMAGES | MASKS
    if way == "beside":
        (tmp_path / "depths.csv").write_bytes(DEPTHS)
        data = write_zip(tmp_path / "train.zip", files)
    elif way == "inside":
        data = write_zip(tmp_path / "train.zip", files | {"depths.csv": DEPTHS})
    elif way == "outer":
        data = write_zip(tmp_path / "tgs.zip", {"train.zip": zipped(files), "depths.csv": DEPTHS})
    else:
        inside = {f"train/{name}": data for name, data in files.items()}
        data = write_folder(tmp_path / "tgs", inside | {"depths.csv": DEPTHS})
    source = Tgs().read(data, SETTINGS)
    assert source.load("8e13060816").numbers == {"depth": 306.0}
    assert source.load("00441").numbers == {"depth": 51.5}
    assert source.load("black").numbers == {}
    assert [(issue.sample, issue.kind) for issue in source.data_issues] == [("black", "not in depths.csv")]


def test_a_set_without_depths_says_so_once(tmp_path):
    source = Tgs().read(write_zip(tmp_path / "train.zip", IMAGES), SETTINGS)
    assert [(issue.kind, issue.count) for issue in source.data_issues] == [("no depths.csv", 3)]


def test_depths_change_the_fingerprint(tmp_path):
    data = write_zip(tmp_path / "train.zip", IMAGES)
    before = Tgs().read(data, SETTINGS).fingerprint()
    (tmp_path / "depths.csv").write_bytes(DEPTHS)
    assert Tgs().read(data, SETTINGS).fingerprint() != before


def test_a_depth_that_is_no_number_is_named(tmp_path):
    (tmp_path / "depths.csv").write_bytes(b"id,z\n00441,nan\nblack,5 m\n")
    with pytest.raises(DataError, match=r"depths\.csv: depths must be numbers") as caught:
        Tgs().read(write_zip(tmp_path / "train.zip", IMAGES), SETTINGS)
    assert caught.value.problems == ("id '00441': depth 'nan'", "id 'black': depth '5 m'")


def test_another_competitions_zip_is_refused(tmp_path):
    files = {f"i{n}/images/i{n}.png": png(TILE) for n in range(20)}
    with pytest.raises(DataError, match=r"no images named like images/<id>\.png"):
        Tgs().read(write_zip(tmp_path / "train.zip", files), SETTINGS)


def test_a_mask_is_scored_as_one_object_in_however_many_pieces():
    labels = SALT.astype(np.int32)
    pieces = labels.copy()
    pieces[1:, 3] = 2
    assert Tgs().metric(labels, pieces).mean == 1
