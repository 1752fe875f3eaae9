"""A batch's picture shows every array of it."""

import numpy as np
import pytest
import torch

from kaggle_unet.data.batch import Batch
from kaggle_unet.report.draw import CAPTION_PX, TEXT_PX, WEIGHT_COLOURS, draw_batch, heatmap

PANEL_PX, GAP_PX, SCALE_PX = 40, 6, 5 * TEXT_PX
CHANNELS = ("gray", "ramp")


def batch(n=2):
    inputs = torch.arange(n * 2 * 20 * 20, dtype=torch.float32).reshape(n, 2, 20, 20)
    planes = torch.zeros(n, 1, 20, 20)
    planes[:, :, 5:10, 5:15] = 1
    weights = torch.ones(n, 20, 20)
    weights[:, :3] = 0
    weights[0, 10:] = 4
    return Batch(inputs, planes, weights, [f"sample{i}" for i in range(n)])


def panel(picture, row, column):
    top, left = row * (PANEL_PX + CAPTION_PX) + CAPTION_PX, column * (PANEL_PX + GAP_PX)
    return picture[top : top + PANEL_PX, left : left + PANEL_PX].astype(int)


def test_there_is_a_row_per_sample_a_panel_per_array_and_a_scale():
    picture = draw_batch(batch(3), ("mask",), CHANNELS, side_px=PANEL_PX)
    assert picture.shape == (3 * (PANEL_PX + CAPTION_PX), 4 * (PANEL_PX + GAP_PX) + SCALE_PX, 3)
    assert picture.dtype == np.uint8


def test_inputs_run_from_black_to_white_each_by_itself():
    picture = draw_batch(batch(), ("mask",), CHANNELS, side_px=PANEL_PX)
    for row in range(2):
        for column in range(2):
            shown = panel(picture, row, column)
            assert (shown[0, 0] == 0).all()
            assert (shown[-1, -1] == 255).all()
            assert (np.diff(shown[:, 0, 0]) >= 0).all()


def test_targets_are_white_where_they_are_one():
    shown = panel(draw_batch(batch(), ("mask",), CHANNELS, side_px=PANEL_PX), 1, 2)
    expected = np.zeros((PANEL_PX, PANEL_PX), bool)
    expected[10:20, 10:30] = True
    assert ((shown[..., 0] == 255) == expected).all()


def test_pixels_that_do_not_count_are_white_and_heavy_ones_dark():
    shown = panel(draw_batch(batch(), ("mask",), CHANNELS, side_px=PANEL_PX), 0, 3).sum(-1)
    assert shown[0, 0] > 3 * 245
    assert shown[0, 0] > shown[10, 0] > shown[-1, 0]


def test_an_empty_plane_is_black():
    one = batch()
    picture = draw_batch(one._replace(planes=one.planes * 0), ("mask",), CHANNELS, side_px=PANEL_PX)
    assert not panel(picture, 0, 2).any()


def test_a_full_plane_is_white():
    one = batch()
    picture = draw_batch(one._replace(planes=one.planes * 0 + 1), ("mask",), CHANNELS, side_px=PANEL_PX)
    assert (panel(picture, 0, 2) == 255).all()


def test_the_weights_of_all_samples_share_one_scale():
    heaviest, half = heatmap(np.array([[1.0, 0.5]]), name=WEIGHT_COLOURS)[0].astype(int)
    one = batch()
    one.weights[1, :] = 2  # the heaviest pixel, of weight 4, is the other sample's
    picture = draw_batch(one, ("mask",), CHANNELS, side_px=PANEL_PX)
    assert (panel(picture, 0, 3)[-1, -1] == heaviest).all()
    assert (panel(picture, 1, 3) == half).all()


def test_the_scale_runs_from_the_heaviest_weight_down_to_zero():
    scale = panel(draw_batch(batch(), ("mask",), CHANNELS, side_px=PANEL_PX), 0, 4)[1:-1, 5]
    assert (scale[0] == heatmap(np.ones((1, 1)), name=WEIGHT_COLOURS)[0, 0]).all()
    assert (scale[-1] == heatmap(np.zeros((1, 1)), name=WEIGHT_COLOURS)[0, 0]).all()


def test_captions_depend_on_id_names_and_ranges():
    def caption(one, names=("mask",), channels=CHANNELS):
        return draw_batch(one, names, channels, side_px=4 * PANEL_PX)[:CAPTION_PX].tobytes()

    one, plain = batch(1), caption(batch(1))
    assert caption(batch(1)) == plain
    others = [
        caption(one._replace(ids=["other"])),
        caption(one, ("cell",)),
        caption(one, channels=("gray", "depth")),
        caption(one._replace(planes=one.planes * 0)),
        caption(one._replace(weights=one.weights * 2)),
    ]
    assert plain not in others
    assert len(set(others)) == len(others)


def test_half_precision_is_shown_too():
    one = batch()
    assert draw_batch(one._replace(inputs=one.inputs.bfloat16()), ("mask",), CHANNELS).any()


def test_names_must_fit():
    for planes, channels in ((("mask", "border"), CHANNELS), (("mask",), ("gray",))):
        with pytest.raises(ValueError, match="zip"):
            draw_batch(batch(), planes, channels)
