"""Pictures show what the arrays say."""

import numpy as np
import pytest
from hypothesis import given

from kaggle_unet.report.draw import (
    BOTH_COLOUR,
    CAPTION_PX,
    GAP_PX,
    PRED_COLOUR,
    TRUE_COLOUR,
    colour_labels,
    compose,
    draw_outlines,
    heatmap,
    outline,
    resize,
    stretch,
)
from tests import strategies


def test_a_dim_gray_image_is_stretched_to_the_full_range():
    image = np.arange(20, 40, dtype=np.uint8).reshape(4, 5)
    picture = stretch(image)
    assert picture.shape == (4, 5, 3)
    assert (picture.min(), picture.max()) == (0, 255)
    assert np.all(picture == picture[..., :1])


def test_colour_and_constant_images_keep_their_values():
    colour = np.full((2, 2, 3), (10, 20, 30), np.uint8)
    assert stretch(colour) is colour
    assert np.unique(stretch(np.full((3, 3), 9, np.uint8))).tolist() == [9]


def test_small_pictures_grow_by_whole_factors_only():
    picture = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(resize(picture, 7), np.kron(picture, np.ones((2, 2), int)))
    assert resize(picture, 5) is not picture
    np.testing.assert_array_equal(resize(picture, 5), picture)


def test_large_pictures_shrink_to_the_side_and_keep_a_pixel():
    assert resize(np.zeros((10, 40), np.uint8), 20).shape == (5, 20)
    assert resize(np.zeros((1, 400, 3), np.uint8), 20).shape == (1, 20, 3)


def test_shrunken_labels_have_no_ids_in_between():
    labels = np.repeat(np.array([[1, 9]], np.int32), 50, axis=1).repeat(100, axis=0)
    assert np.unique(resize(labels, 33, smooth=False)).tolist() == [1, 9]
    np.testing.assert_allclose(resize(labels.astype(np.float32), 33)[0, 15:18], [1, 5, 9], atol=1e-5)


def test_the_outline_of_a_square_is_its_frame():
    labels = np.zeros((5, 5), np.int32)
    labels[1:4, 1:4] = 1
    frame = labels > 0
    frame[2, 2] = False
    np.testing.assert_array_equal(outline(labels), frame)


def test_the_edge_of_the_image_is_no_outline():
    assert not outline(np.ones((3, 3), np.int32)).any()


@given(strategies.labels())
def test_an_outline_lies_in_instances_and_marks_every_one_that_ends_in_the_image(labels):
    edge = outline(labels)
    assert not edge[labels == 0].any()
    for id_ in np.unique(labels[labels > 0]):
        assert edge[labels == id_].any() == (not (labels == id_).all())


def test_outlines_of_truth_and_prediction_have_their_colours():
    true, pred = np.array([[1, 1, 0, 0]], np.int32), np.array([[0, 3, 0, 3]], np.int32)
    picture = np.zeros((1, 4, 3), np.uint8)
    drawn = draw_outlines(picture, true, pred)
    assert [tuple(pixel) for pixel in drawn[0]] == [(0, 0, 0), BOTH_COLOUR, (0, 0, 0), PRED_COLOUR]
    assert [tuple(pixel) for pixel in draw_outlines(picture, true)[0]][1] == TRUE_COLOUR
    assert not picture.any()


def test_instances_have_colours_of_their_own_on_black():
    labels = np.arange(60, dtype=np.int32).reshape(6, 10)
    painted = colour_labels(labels, white=np.array([5])).reshape(60, 3)
    assert painted[0].tolist() == [0, 0, 0]
    assert painted[5].tolist() == [255, 255, 255]
    assert len(np.unique(painted, axis=0)) == 60


def test_the_colour_of_an_id_does_not_depend_on_the_image():
    few, many = np.array([[3]], np.int32), np.array([[3, 200]], np.int32)
    np.testing.assert_array_equal(colour_labels(few)[0, 0], colour_labels(many)[0, 0])


def test_an_image_without_instances_is_black():
    assert not colour_labels(np.zeros((2, 2), np.int32)).any()


def test_a_heatmap_runs_from_low_to_high_and_clips_beyond():
    painted = heatmap(np.array([[-1.0, 0.0, 2.0, 4.0, 9.0, np.nan]]), high=4.0, name="gray")
    assert painted[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_a_heatmap_of_an_empty_range_is_dark():
    assert heatmap(np.zeros((2, 2)), low=0.0, high=0.0, name="gray").max() == 0


def test_composed_panels_lie_side_by_side_below_their_captions():
    red, blue = np.full((4, 30, 3), (255, 0, 0), np.uint8), np.full((6, 50, 3), (0, 0, 255), np.uint8)
    strip = compose([("red", red), ("blue ü", blue)])
    assert strip.shape == (CAPTION_PX + 6, 80 + GAP_PX, 3)
    np.testing.assert_array_equal(strip[CAPTION_PX : CAPTION_PX + 4, :30], red)
    np.testing.assert_array_equal(strip[CAPTION_PX:, 30 + GAP_PX :], blue)
    assert np.all(strip[CAPTION_PX + 4 :, :30] == 255)
    assert strip[:CAPTION_PX].min() < 100


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_few_bright_pixels_are_seen_on_an_empty_image(dtype):
    image = np.zeros((256, 256), dtype)
    image[:8, :8] = 30000
    assert (stretch(image)[:8, :8] == 255).all()
    assert not stretch(image)[8:].any()
    assert not stretch(np.full((4, 4), 7, dtype)).any()
