"""Drawn nuclei are consecutive, whole, and hard for a threshold."""

import re

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.errors import ConfigError
from kaggle_unet.metrics.score import score_image
from kaggle_unet.steps.demo import segment_classically
from kaggle_unet.synthetic.images import MIN_NUCLEUS_PX, draw_nuclei, drop_slivers, stain


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(8, 70), width=st.integers(8, 70), n=st.integers(0, 12))
def test_any_drawing_has_consecutive_labels_of_visible_size(seed, height, width, n):
    image, labels = draw_nuclei(np.random.default_rng(seed), (height, width), n=n)
    assert image.shape == labels.shape == (height, width)
    assert (image.dtype, labels.dtype) == (np.uint8, np.int32)
    areas = np.bincount(labels.ravel())[1:]
    assert len(areas) <= n
    assert all(areas >= MIN_NUCLEUS_PX)


def test_the_same_generator_state_draws_the_same_image():
    first, second = (draw_nuclei(np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_nuclei_are_brighter_than_the_background_round_them():
    image, labels = draw_nuclei(np.random.default_rng(1))
    assert np.median(image[labels > 0]) > 2 * np.median(image[labels == 0])


def test_many_nuclei_touch_another():
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(20):
        labels = draw_nuclei(rng)[1]
        high = scipy.ndimage.maximum_filter(labels, 3)
        low = scipy.ndimage.minimum_filter(np.where(labels, labels, labels.max() + 1), 3)
        touching = np.setdiff1d(labels[(high != low) & (low <= labels.max()) & (labels > 0)], 0)
        shares.append(len(touching) / labels.max())
    assert 0.3 < np.mean(shares) < 0.9


def test_without_nuclei_there_is_noise_and_no_label():
    image, labels = draw_nuclei(np.random.default_rng(3), (32, 32), n=0)
    assert not labels.any()
    assert np.ptp(image) > 0


@pytest.mark.parametrize(
    ("shape", "radius_px"), [((0, 0), 10), ((0, 9), 10), ((9, -1), 10), ((9, 9), 0), ((9, 9), np.nan)]
)
def test_what_has_no_size_cannot_be_drawn(shape, radius_px):
    with pytest.raises(ConfigError, match=rf"shape {re.escape(str(shape))}, radius_px {radius_px}; expected"):
        draw_nuclei(np.random.default_rng(0), shape, radius_px=radius_px)


def test_a_classical_method_is_clearly_imperfect_and_not_lost():
    rng = np.random.default_rng(4)
    drawn = [draw_nuclei(rng) for _ in range(20)]
    score = np.mean([score_image(labels, segment_classically(image)).mean for image, labels in drawn])
    assert 0.25 < score < 0.6


def test_dropping_slivers_renumbers_the_rest():
    labels = np.zeros((12, 12), np.int32)
    labels[:4, :4], labels[6, :15], labels[8:, :4] = 2, 5, 7
    expected = np.where(labels == 2, 1, np.where(labels == 7, 2, 0))
    np.testing.assert_array_equal(drop_slivers(labels), expected)


def test_stains_turn_bright_into_dark_and_keep_the_order_of_brightness():
    image = np.array([[0, 50, 100, 200]], np.uint8)
    assert stain(image, "gray-dark") is image
    gray = stain(image, "gray-bright")
    assert gray.shape == (1, 4)
    assert gray[0, 0] == 225
    assert np.all(np.diff(gray.astype(int)) < 0)
    colour = stain(image, "colour")
    assert colour.shape == (1, 4, 3)
    assert colour[0, 0].tolist() == [238, 212, 232]
    assert np.all(np.diff(colour.astype(int), axis=1) < 0)


@pytest.mark.parametrize("kind", ["gray-bright", "colour"])
def test_a_black_image_is_stained_to_bare_background(kind):
    assert np.unique(stain(np.zeros((3, 3), np.uint8), kind).reshape(9, -1), axis=0).shape[0] == 1
