import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import LovaszLoss

from kaggle_unet.losses.region import lovasz_hinge, lovasz_softmax
from tests.losses.drawn import judge, learn

# one image of three pixels: the object is the first two, the errors are ½, 2 and 1.2
LOGITS = torch.tensor([0.5, -1.0, 0.2]).view(1, 1, 1, 3)
PLANES = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3)
EVERYTHING = torch.ones(1, 1, 3)


def draw(seed=0, shape=(3, 2, 6, 5)):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator)
    return logits, torch.randint(2, shape, generator=generator).float()


def everything(planes):
    return torch.ones_like(planes[:, 0])


# From the largest error on: the second pixel takes 1 of 2 from what is shared, the third makes a union of 3 of it, and
# the first takes what is left: ½, 1/6 and 1/3.
@pytest.mark.parametrize(
    ("hinge", "wanted"),
    [
        ("relu", 2 / 2 + 1.2 / 6 + 0.5 / 3),
        ("elu1", 3 / 2 + 2.2 / 6 + 1.5 / 3),
    ],
)
def test_three_pixels_worked_by_hand(hinge, wanted):
    loss = lovasz_hinge(LOGITS, PLANES, EVERYTHING, over="image", hinge=hinge)
    assert loss.tolist() == pytest.approx([wanted])


def test_elu1_pulls_on_pixels_that_are_right_and_relu_does_not():
    for hinge, cost in (("relu", 0), ("elu1", math.exp(-3) / 2 + math.exp(-3) / 2)):
        logits = torch.full((1, 1, 1, 2), 4.0, requires_grad=True)
        loss = lovasz_hinge(logits, torch.ones(1, 1, 1, 2), torch.ones(1, 1, 2), over="image", hinge=hinge)
        loss.sum().backward()
        assert loss.item() == pytest.approx(cost)
        assert (logits.grad != 0).all() == (hinge == "elu1")


@pytest.mark.parametrize(("over", "per_image"), [("image", True), ("batch", False)])
def test_the_hinge_agrees_with_smp(over, per_image):
    logits, planes = draw()
    ours = lovasz_hinge(logits, planes, everything(planes), over=over, hinge="relu")
    theirs = [LovaszLoss("binary", per_image=per_image)(logits[:, [k]], planes[:, [k]]) for k in range(2)]
    torch.testing.assert_close(ours, torch.stack(theirs))


@pytest.mark.parametrize(("over", "per_image"), [("image", True), ("batch", False)])
def test_ignored_pixels_are_left_out_as_smp_leaves_them_out(over, per_image):
    logits, planes = draw(1)
    counted = everything(planes)
    counted[:, 2:4] = 0
    marked = planes[:, :1].masked_fill(counted.unsqueeze(1) == 0, 255)
    ours = lovasz_hinge(logits[:, :1], planes[:, :1], counted, over=over, hinge="relu")
    theirs = LovaszLoss("binary", per_image=per_image, ignore_index=255)(logits[:, :1], marked)
    torch.testing.assert_close(ours.sum(), theirs)


def test_lovasz_softmax_agrees_with_smp_where_every_class_is_there():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, 6, 5, generator=generator)
    classes = torch.randint(3, (2, 6, 5), generator=generator)
    planes = F.one_hot(classes, 3).permute(0, 3, 1, 2).float()
    ours = lovasz_softmax(logits.softmax(dim=1), planes, everything(planes), over="batch")
    torch.testing.assert_close(ours.mean(), LovaszLoss("multiclass")(logits, classes))


@given(seed=st.integers(0, 99), p_object=st.sampled_from([0, 1 / 3, 1]))
@settings(max_examples=30, deadline=None)
def test_at_hard_predictions_it_is_1_minus_the_iou(seed, p_object):
    generator = torch.Generator().manual_seed(seed)
    planes = (torch.rand(1, 1, 3, 4, generator=generator) < p_object).float()
    found = torch.randint(2, planes.shape, generator=generator).float()
    union = ((planes + found) > 0).sum().item()
    iou = (planes * found).sum().item() / union if union else 1
    assert lovasz_softmax(found, planes, everything(planes), over="image").item() == pytest.approx(1 - iou, abs=1e-6)


def test_the_symmetric_form_is_the_mean_with_the_background_s():
    logits, planes = draw(3)
    both = [
        lovasz_hinge(sign * logits, target, everything(planes), over="image", hinge="elu1")
        for sign, target in ((1, planes), (-1, 1 - planes))
    ]
    symmetric = lovasz_hinge(logits, planes, everything(planes), over="image", hinge="elu1", symmetric=True)
    torch.testing.assert_close(symmetric, sum(both) / 2)


@pytest.mark.parametrize(("symmetric", "n_asked"), [(False, 1), (True, 12)])
def test_an_empty_image_asks_its_worst_pixel_or_symmetrically_all(symmetric, n_asked):
    logits = torch.linspace(-0.5, 2, 12).view(1, 1, 3, 4).requires_grad_()
    nothing = torch.zeros(1, 1, 3, 4)
    lovasz_hinge(logits, nothing, everything(nothing), over="image", hinge="relu", symmetric=symmetric).sum().backward()
    assert (logits.grad > 0).sum() == n_asked
    assert logits.grad.argmax() == 11


def test_targets_above_a_half_are_objects():
    loss = lovasz_hinge(LOGITS, PLANES * 0.6 + 0.1, EVERYTHING, over="image", hinge="relu")
    assert loss.tolist() == lovasz_hinge(LOGITS, PLANES, EVERYTHING, over="image", hinge="relu").tolist()


def test_the_worst_pixel_of_a_large_image_costs_exactly_what_it_takes_from_the_iou():
    # 1 − IoU as a float32 could not tell a pixel of 300,000 from its neighbour to better than 2 %
    planes = torch.zeros(1, 1, 300, 1000)
    planes[..., :500] = 1
    probs = planes.clone()
    order = torch.randperm(300_000, generator=torch.Generator().manual_seed(4)).view(1, 1, 300, 1000)
    probs = (probs - order / 300_000 / 4 * (2 * planes - 1)).requires_grad_()  # errors from 0 to ¼
    lovasz_softmax(probs, planes, everything(planes), over="image").sum().backward()
    last = (planes == 1) & (order <= order[planes == 1].min())
    union = 150_000 + (order[planes == 0] > order[last].item()).sum().item()
    assert probs.grad[last].item() == pytest.approx(-1 / union, rel=1e-6)


def test_lovasz_after_cross_entropy_raises_the_iou_of_squares_in_noise():
    start = learn((0.0, 0.0), steps=150, cross_entropy=1)
    (more, _), (lovasz, _) = (judge(learn(start, steps=100, **{term: 1})) for term in ("cross_entropy", "lovasz"))
    assert lovasz > more + 0.05


def test_the_symmetric_form_learns_from_blank_planes_where_the_plain_one_does_not():
    plain, symmetric = (
        judge(learn((0.0, 0.0), steps=100, lovasz=1, lovasz_symmetric=value))[0] for value in (False, True)
    )
    assert plain < 0.05
    assert symmetric > 0.3
