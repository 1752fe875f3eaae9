"""Curves of training are drawn from any history."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from kaggle_unet.report.plots import plot_curves, plot_thresholds

HISTORY = [
    {"epoch": 1.0, "train_loss": 1.0, "valid_loss": None, "valid_score": None},
    {"epoch": 2.0, "train_loss": 0.5, "valid_loss": 0.6, "valid_score": 0.3},
    {"epoch": 3.0, "train_loss": 0.4, "valid_loss": 0.7, "valid_score": 0.2},
]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("n_epochs", [0, 1, 3])
def test_any_number_of_epochs_gives_a_picture_of_one_size(n_epochs):
    assert pixels(plot_curves(HISTORY[:n_epochs])).shape == pixels(plot_curves(HISTORY)).shape


def test_the_same_history_gives_the_same_bytes_and_another_one_does_not():
    assert plot_curves(HISTORY) == plot_curves(HISTORY) != plot_curves(HISTORY[:2])


def test_rows_without_validation_keys_are_drawn_too():
    assert np.any(pixels(plot_curves([{"epoch": 1.0, "train_loss": 1.0}])) != pixels(plot_curves([])))


def test_a_score_of_zero_is_a_score():
    none, zero = ([{"epoch": 1.0, "train_loss": 1.0, "valid_score": score}] for score in (None, 0.0))
    assert plot_curves(none) != plot_curves(zero)


def test_the_score_is_drawn_in_its_colour():
    orange = np.all(pixels(plot_curves(HISTORY)) == (0xD9, 0x5F, 0x02), axis=2)
    assert orange.sum() > 50
    assert not orange[:, : orange.shape[1] // 2].any()


def test_matplotlib_settings_are_left_alone():
    before = mpl.get_backend(auto_select=False), mpl.rcParams.copy()
    plot_curves(HISTORY)
    assert (mpl.get_backend(auto_select=False), mpl.rcParams.copy()) == before


def test_a_curve_over_thresholds_follows_the_scores_and_marks_the_one_in_use():
    one = plot_thresholds({0.25: 0.1, 0.5: 0.4, 0.75: 0.2}, 0.5)
    assert (one == plot_thresholds({0.25: 0.1, 0.5: 0.4, 0.75: 0.2}, 0.5)) is True
    for other in (plot_thresholds({0.25: 0.1, 0.5: 0.4, 0.75: 0.3}, 0.5), plot_thresholds({0.25: 0.1, 0.5: 0.4}, 0.3)):
        assert one != other
