import pytest
import torch

from kaggle_unet.losses.region import soft_dice

EVERYTHING = torch.ones(2, 1, 2)
# two images of two pixels, one plane
PROBS = torch.tensor([[[[1.0, 0.5]]], [[[0.25, 0.0]]]])
PLANES = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])


def test_over_the_batch_sums_run_over_both_images():
    # shared 1 + 1/4, probabilities 1.75, targets 2
    dice = soft_dice(PROBS, PLANES, EVERYTHING, over="batch", smooth=1e-9)
    assert dice.tolist() == pytest.approx([2 * 1.25 / 3.75])


def test_over_the_image_coefficients_are_averaged():
    dice = soft_dice(PROBS, PLANES, EVERYTHING, over="image", smooth=1e-9)
    assert dice.tolist() == pytest.approx([(2 * 1 / 2.5 + 2 * 0.25 / 1.25) / 2])


def test_smooth_is_added_to_both_sides():
    dice = soft_dice(PROBS[:1], PLANES[:1], EVERYTHING[:1], over="batch", smooth=0.5)
    assert dice.tolist() == pytest.approx([2.5 / 3.0])


def test_an_empty_plane_predicted_empty_is_1_and_false_positives_on_it_cost():
    nothing = torch.zeros(1, 1, 1, 2)
    assert soft_dice(nothing, nothing, EVERYTHING[:1], over="image", smooth=1.0).tolist() == [1]
    assert soft_dice(nothing + 1, nothing, EVERYTHING[:1], over="image", smooth=1.0).tolist() == pytest.approx([1 / 3])


def test_planes_have_coefficients_of_their_own():
    probs, planes = torch.ones(1, 2, 1, 2), torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 2, 1, 2)
    assert soft_dice(probs, planes, EVERYTHING[:1], over="batch", smooth=1.0).tolist() == pytest.approx([1, 1 / 3])
