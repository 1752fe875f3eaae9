"""Files of labels, written and read."""

import json

import numpy as np
import pytest
import tifffile

from kaggle_unet.competitions.label_files import write_labels
from kaggle_unet.errors import DataError

LABELS = np.array([[0, 1, 1], [2, 0, 2]])


def test_labels_by_id_become_a_file_each_or_one_for_all(tmp_path):
    write_labels({"a": LABELS, "b.c": LABELS.T}, tmp_path / "x", "ome-tiff")
    write_labels({"a": LABELS, "b.c": LABELS.T}, tmp_path / "all.json", "coco")
    assert tifffile.imread(tmp_path / "x/b.c.ome.tif").tolist() == LABELS.T.tolist()
    assert [image["file_name"] for image in json.loads((tmp_path / "all.json").read_text())["images"]] == [
        "a.png",
        "b.c.png",
    ]


def test_one_images_labels_are_named_by_their_file(tmp_path):
    write_labels(LABELS.astype(bool), tmp_path / "b.c.json", "coco")
    assert json.loads((tmp_path / "b.c.json").read_text())["images"][0]["file_name"] == "b.c.png"


def test_arrays_that_are_no_labels_are_named(tmp_path):
    with pytest.raises(DataError, match="labels of 'a' of dtype float64"):
        write_labels({"a": LABELS / 2}, tmp_path)
    assert not list(tmp_path.iterdir())
