import math

import pytest
import torch
import torch.nn.functional as F

from kaggle_unet.losses.cross_entropy import pixel_cross_entropy, weighted_mean


def test_sigmoid_is_the_mean_of_binary_cross_entropies():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)  # probabilities 1/2 and 3/4
    planes = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert pixel_cross_entropy(logits, planes, "sigmoid").item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_softmax_is_minus_the_log_of_the_right_class():
    logits = torch.tensor([0.0, math.log(3), math.log(4)]).view(1, 3, 1, 1)  # probabilities 1/8, 3/8, 4/8
    planes = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert pixel_cross_entropy(logits, planes, "softmax").item() == pytest.approx(math.log(8 / 3))


def test_softmax_agrees_with_torch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    classes = torch.randint(3, (2, 4, 5), generator=generator)
    planes = F.one_hot(classes, 3).permute(0, 3, 1, 2).float()
    ours = pixel_cross_entropy(logits, planes, "softmax")
    torch.testing.assert_close(ours, F.cross_entropy(logits, classes, reduction="none"))


def test_the_mean_is_over_pixels_that_count_and_not_over_their_weights():
    values = torch.tensor([[[2.0, 4.0], [7.0, 9.0]]])
    weights = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    assert weighted_mean(values, weights).item() == (2 + 12) / 2


def test_twice_the_weight_of_a_pixel_counts_twice():
    values, weights = torch.tensor([[[2.0, 4.0, 7.0]]]), torch.ones(1, 1, 3)
    before = weighted_mean(values, weights)
    weights[0, 0, 1] = 2
    assert (weighted_mean(values, weights) - before).item() == pytest.approx(4 / 3)


def test_the_mean_over_no_pixel_is_0():
    assert weighted_mean(torch.ones(1, 2, 2), torch.zeros(1, 2, 2)).item() == 0
