import math

import pytest
import torch
from segmentation_models_pytorch.losses import FocalLoss

from kaggle_unet.losses.cross_entropy import pixel_cross_entropy, pixel_focal
from tests.losses.drawn import draw_squares, judge, learn


def draw(seed=0, n_planes=2):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, n_planes, 4, 5)
    return torch.randn(shape, generator=generator), torch.randint(2, shape, generator=generator).float()


def test_two_planes_worked_by_hand():
    logits = torch.tensor([math.log(3), 0.0]).view(1, 2, 1, 1)  # probabilities ¾ and ½
    planes = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    wanted = (math.log(4 / 3) / 16 + math.log(2) / 4) / 2
    assert pixel_focal(logits, planes, "sigmoid", gamma=2).item() == pytest.approx(wanted)


def test_alpha_weighs_yes_and_the_rest_no():
    logits = torch.zeros(1, 1, 1, 2)
    planes = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    focal = pixel_focal(logits, planes, "sigmoid", gamma=2, alpha=0.75)
    assert focal.flatten().tolist() == pytest.approx([0.75 * math.log(2) / 4, 0.25 * math.log(2) / 4])


def test_softmax_worked_by_hand():
    logits = torch.tensor([0.0, math.log(3), math.log(4)]).view(1, 3, 1, 1)  # probabilities 1/8, 3/8, 4/8
    planes = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert pixel_focal(logits, planes, "softmax", gamma=2).item() == pytest.approx((5 / 8) ** 2 * math.log(8 / 3))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_agrees_with_smp(gamma, alpha):
    logits, planes = draw()
    ours = pixel_focal(logits, planes, "sigmoid", gamma=gamma, alpha=alpha)
    torch.testing.assert_close(ours.mean(), FocalLoss("multilabel", gamma=gamma, alpha=alpha)(logits, planes))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_gamma_of_0_is_the_cross_entropy(activation):
    logits, planes = draw(n_planes=3)
    planes[:] = 0
    planes[:, 1] = 1
    focal = pixel_focal(logits, planes, activation, gamma=0.0)
    torch.testing.assert_close(focal, pixel_cross_entropy(logits, planes, activation))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_pixel_that_is_quite_right_has_a_gradient_of_0_and_no_nan(activation, gamma):
    logits = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1).requires_grad_()
    planes = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    pixel_focal(logits, planes, activation, gamma=gamma).sum().backward()
    assert (logits.grad == 0).all()


def test_smp_has_no_such_gradient():
    """The trap: a power of 1 − p has an infinite slope where p is 1."""
    logits = torch.tensor([200.0]).requires_grad_()
    FocalLoss("binary", gamma=0.5)(logits, torch.ones(1)).backward()
    assert logits.grad.isnan().all()


def share_of_the_easy_half(**options):
    """Measure how much of the gradient comes from the half of the pixels that are the most right."""
    a, b = learn((0.0, 0.0), steps=150, cross_entropy=1)
    features, planes = draw_squares(0)
    logits = (a * features + b).requires_grad_()
    pixel_focal(logits, planes, "sigmoid", **options).sum().backward()
    order = pixel_cross_entropy(logits, planes, "sigmoid").flatten().argsort()
    pulls = logits.grad.flatten().abs()
    return (pulls[order[: len(order) // 2]].sum() / pulls.sum()).item()


def test_gamma_turns_from_the_pixels_that_are_right_already():
    assert share_of_the_easy_half(gamma=0.0) > 10 * share_of_the_easy_half(gamma=2.0)


def test_alpha_raises_the_recall_of_squares_in_noise():
    (_, without), (_, with_alpha) = (
        judge(learn((0.0, 0.0), steps=100, focal=1, focal_alpha=alpha)) for alpha in (None, 0.75)
    )
    assert with_alpha > without + 0.2
