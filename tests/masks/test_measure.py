"""Measurements of objects, worked out by hand, and against numpy alone."""

import numpy as np
import pytest
from hypothesis import given

import kaggle_unet as ku
from tests.strategies import labels as drawn_labels

SQUARE = np.zeros((8, 10), np.int32)
SQUARE[2:6, 1:5] = 3  # 4 × 4 pixels
SQUARE[7, 7:10] = 9


def test_a_square_and_a_line_have_the_numbers_of_geometry():
    table = ku.measure(SQUARE).set_index("label")
    assert table.loc[3].drop("perimeter_px").to_dict() == {
        "area_px": 16, "y_px": 3.5, "x_px": 2.5, "top_px": 2, "left_px": 1, "bottom_px": 6, "right_px": 5,
        "eccentricity": 0, "solidity": 1,
    }  # fmt: skip
    assert table.loc[3, "perimeter_px"] == 12  # through the centres of its outermost pixels
    assert table.loc[9, ["area_px", "x_px", "eccentricity"]].tolist() == [3, 8, 1]


def test_lengths_and_areas_are_in_micrometres_as_well():
    table = ku.measure(SQUARE, pixel_size=0.5).set_index("label").loc[3]
    assert table["area_um2"] == 4
    assert table[["y_um", "x_um", "top_um", "left_um", "bottom_um", "right_um"]].tolist() == [
        1.75,
        1.25,
        1,
        0.5,
        3,
        2.5,
    ]
    assert table["perimeter_um"] == 6


def test_pixels_that_are_not_square_have_no_perimeter():
    table = ku.measure(SQUARE, pixel_size=(2.0, 0.5))
    assert table["area_um2"].tolist() == [16, 3]
    assert table["y_um"][0] == 7
    assert table["x_um"][0] == 1.25
    assert "perimeter_um" not in table


@given(drawn_labels())
def test_intensities_of_every_channel_are_those_of_numpy(labels):
    image = np.random.default_rng(0).integers(0, 65536, (*labels.shape, 2), np.uint16)
    table = ku.measure(labels, image)
    assert table["label"].tolist() == [id_ for id_ in np.unique(labels) if id_]
    for channel in range(2):
        for row in table.itertuples():
            inside = image[..., channel][labels == row.label].astype(np.int64)
            found = [getattr(row, f"{name}_channel{channel}") for name in ("mean", "min", "max", "sum")]
            assert found == pytest.approx([inside.mean(), inside.min(), inside.max(), inside.sum()], rel=1e-12)
            assert found[1:] == [inside.min(), inside.max(), inside.sum()]


def test_floats_keep_their_values_and_an_image_without_objects_has_the_columns_all_the_same():
    image = np.linspace(0, 1, 80).reshape(8, 10).astype(np.float32)
    assert ku.measure(SQUARE, image)["max"][0] == image[5, 4]
    empty = ku.measure(np.zeros((8, 10), np.int32), image, pixel_size=1)
    assert len(empty) == 0
    assert list(empty) == list(ku.measure(SQUARE, image, pixel_size=1))


def test_half_precision_is_summed_in_full_and_a_size_may_be_any_pair():
    image = np.random.default_rng(0).random((200, 200)).astype(np.float16) * 100
    table = ku.measure(np.ones((200, 200), int), image, pixel_size=[0.5, 0.25])
    assert table["sum"][0] == pytest.approx(image.sum(dtype=np.float64), rel=1e-12)
    assert (
        table["area_um2"][0]
        == ku.measure(np.ones((200, 200), int), pixel_size=np.array([0.5, 0.25])).area_um2[0]
        == 5000
    )


@pytest.mark.parametrize(
    ("dtype", "value", "n_px"), [(np.uint64, 2**63, 1), (np.int64, 2**62, 3), (np.int64, -(2**63), 2)]
)
def test_whole_numbers_beyond_64_bits_keep_sign_and_size(dtype, value, n_px):
    row = ku.measure(np.ones((1, n_px), int), np.full((1, n_px), value, dtype)).iloc[0]
    assert row[["mean", "min", "max", "sum"]].tolist() == [value, value, value, n_px * value]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((8, 9))}, r"the image has shape \(8, 9\), the labels \(8, 10\)"),
        ({"image": np.zeros((8, 10, 1, 1))}, "expected the same"),
        ({"pixel_size": 0.0}, "the pixel size is 0.0; expected micrometres above 0"),
        ({"pixel_size": (1.0, float("nan"))}, "expected micrometres"),
        ({"pixel_size": (1.0, 2.0, 3.0)}, "expected micrometres"),
        ({"pixel_size": "x"}, "expected micrometres"),
        ({"image": np.zeros((8, 10), complex)}, "the image is complex128; expected numbers"),
        ({"image": np.full((8, 10), None)}, "the image is object; expected numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ku.KitError, match=message):
        ku.measure(SQUARE, **arguments)
