"""A folder of class images keeps the contract of sources: equal however packed, told apart by masks and table."""

import pickle

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError
from tests.files import png, write_folder, write_zip

CLASSES = {key: np.random.default_rng(number).integers(0, 3, (9, 13)) for number, key in enumerate("ab")}
NUMBERS = {"soil": 3, "water": 0, "ice": 7}
COLOURS = {"soil": (200, 10, 10), "water": (0, 0, 255), "ice": (255, 255, 255)}


def files_of(table):
    palette = np.array(list(table.values()), np.uint8)
    images = {f"images/{key}.png": png((labels * 50).astype(np.uint8)) for key, labels in CLASSES.items()}
    return images | {f"masks/{key}.png": png(palette[labels]) for key, labels in CLASSES.items()}


def read(data, table, **settings):
    settings = CompetitionSettings(name="folder", masks_are="classes", classes=table, **settings)
    return get_competition("folder").read(data, settings, with_masks=True)


@pytest.mark.parametrize("table", [NUMBERS, COLOURS])
def test_classes_are_the_same_however_they_are_packed_and_pickled(tmp_path, table):
    folder = read(write_folder(tmp_path / "x", files_of(table)), table)
    zipped = read(write_zip(tmp_path / "x.zip", files_of(table)), table)
    assert folder.fingerprint() == zipped.fingerprint()
    for source in (folder, zipped, pickle.loads(pickle.dumps(zipped))):
        assert source.ids == ("a", "b")
        for key, labels in CLASSES.items():
            assert (source.load(key).labels == labels).all()
            assert source.load(key).labels.dtype == np.int32


def test_the_fingerprint_follows_the_table_the_ignored_value_and_a_mask(tmp_path):
    data = write_folder(tmp_path / "x", files_of(NUMBERS))
    other = {"ice": 7, "soil": 3, "water": 0}
    changed = files_of(NUMBERS) | {"masks/a.png": png(np.full((9, 13), 3, np.uint8))}
    sources = [read(data, NUMBERS), read(data, other), read(data, NUMBERS, ignore=9)]
    sources.append(read(write_folder(tmp_path / "y", changed), NUMBERS))
    assert len({source.fingerprint() for source in sources}) == 4


def test_a_number_of_no_class_is_an_error_of_its_sample_unless_it_is_ignored(tmp_path):
    files = files_of(NUMBERS)
    files["masks/a.png"] = png(np.full((9, 13), 9, np.uint8))
    data = write_folder(tmp_path / "x", files)
    with pytest.raises(DataError, match=r"masks/a\.png has 117 pixels of no class, most of them 9"):
        read(data, NUMBERS).load("a")
    assert (read(data, NUMBERS).load("b").labels == CLASSES["b"]).all()
    assert read(data, NUMBERS, ignore=9).load("a").ignore.all()
