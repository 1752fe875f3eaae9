"""Class images: numbers or colours of a table become 0…K−1, and anything else is named."""

import numpy as np
import pytest
from PIL import Image

from kaggle_unet.errors import DataError
from kaggle_unet.io.masks import take_class_image
from tests.files import encode, png, tiff

CLASSES = np.array([[0, 0, 2, 1], [2, 1, 1, 0]])
NUMBERS = {"soil": 10, "water": 0, "ice": 300}
COLOURS = {"soil": (200, 10, 10), "water": (0, 0, 255), "ice": (255, 255, 255)}
IMAGE = np.zeros(CLASSES.shape, np.uint8)


def read(data, table, ignore=None):
    labels, void, _ = take_class_image([(data, "a.png")], IMAGE, ignore=ignore, table=table)
    return labels.tolist(), void


def paint(table, dtype):
    return np.array(list(table.values()), dtype)[CLASSES]


def palette():
    picture = Image.fromarray(CLASSES.astype(np.uint8), "P")
    picture.putpalette([value for colour in COLOURS.values() for value in colour])
    return png(picture)


@pytest.mark.parametrize(
    ("data", "table"),
    [
        (tiff(paint(NUMBERS, np.uint16)), NUMBERS),
        (png(paint(COLOURS, np.uint8)), COLOURS),
        (png(np.dstack([paint(COLOURS, np.uint8), np.full(CLASSES.shape, 255, np.uint8)])), COLOURS),
        (palette(), COLOURS),
        (palette(), {"soil": 0, "water": 1, "ice": 2}),
        (png(paint({"a": 0, "b": 90, "c": 255}, np.uint8)), {"a": 0, "b": (90, 90, 90), "c": (255, 255, 255)}),
        (png(np.dstack([CLASSES.astype(np.uint8)] * 3)), {"a": 0, "b": 1, "c": 2}),
    ],
)
def test_numbers_colours_and_palettes_become_the_places_in_the_table(data, table):
    assert read(data, table) == (CLASSES.tolist(), None)


def test_ignored_pixels_are_void_and_what_is_in_no_row_is_refused():
    values = paint(COLOURS, np.uint8)
    values[0, :2] = 0, 0, 0
    labels, void = read(png(values), COLOURS, ignore=0)
    assert np.argwhere(void).tolist() == [[0, 0], [0, 1]]
    assert labels[1] == CLASSES[1].tolist()
    with pytest.raises(DataError, match=r"a\.png has 2 pixels of no class, most of them \[0, 0, 0\]; add a class"):
        read(png(values), COLOURS)
    with pytest.raises(DataError, match="4 pixels of no class, most of them 2;"):
        read(png(np.array([[2, 2, 2, 7], [0, 0, 0, 0]], np.uint8)), {"a": 0, "b": 1})


def test_what_cannot_be_classes_is_refused():
    with pytest.raises(DataError, match=r"has colours, but competition\.classes has numbers"):
        read(png(paint(COLOURS, np.uint8)), NUMBERS)
    with pytest.raises(DataError, match="JPEG, which does not keep classes"):
        read(encode(paint(COLOURS, np.uint8), "JPEG"), COLOURS)
    with pytest.raises(DataError, match="2 x 3 pixels"):
        read(png(CLASSES[:, :3].astype(np.uint8)), {"a": 0, "b": 1, "c": 2})
