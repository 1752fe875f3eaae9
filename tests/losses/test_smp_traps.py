"""Where smp's losses say the same as ours, and what they do that ours must not."""

import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, LovaszLoss, SoftBCEWithLogitsLoss, SoftCrossEntropyLoss

from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss


def compare(names, activation, logits, planes, weights=None, **terms):
    """Compute our loss of the terms given and no others."""
    loss = SegmentationLoss(LossSettings(**{"cross_entropy": 0, "dice": 0, **terms}), names, activation)
    return loss(logits, planes, torch.ones_like(planes[:, 0]) if weights is None else weights)[0]


def draw_planes(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, 6, 5)
    return torch.randn(shape, generator=generator), torch.randint(2, shape, generator=generator).float()


def draw_classes(seed=0):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (2, 6, 5), generator=generator)
    return torch.randn(2, 3, 6, 5, generator=generator), classes, F.one_hot(classes, 3).permute(0, 3, 1, 2).float()


SIGMOID, SOFTMAX = ("mask", "border"), ("interior", "border", "background")


def test_dice_over_the_batch_is_smp_s_of_half_the_smoothing_where_every_plane_has_a_pixel():
    logits, planes = draw_planes()
    theirs = DiceLoss("multilabel", smooth=0.5)(logits, planes)
    torch.testing.assert_close(compare(SIGMOID, "sigmoid", logits, planes, dice=1), theirs)


def test_dice_planes_are_smp_s_class_weights():
    logits, planes = draw_planes()
    theirs = DiceLoss("multilabel", smooth=0.5, class_weights=[1.0, 3.0])(logits, planes)
    torch.testing.assert_close(compare(SIGMOID, "sigmoid", logits, planes, dice=1, dice_planes={"border": 3}), theirs)


def test_binary_cross_entropy_is_smp_s():
    logits, planes = draw_planes()
    theirs = SoftBCEWithLogitsLoss()(logits, planes)
    torch.testing.assert_close(compare(SIGMOID, "sigmoid", logits, planes, cross_entropy=1), theirs)


def test_cross_entropy_of_a_softmax_is_smp_s_without_smoothing():
    logits, classes, planes = draw_classes()
    theirs = SoftCrossEntropyLoss(smooth_factor=0.0)(logits, classes)
    torch.testing.assert_close(compare(SOFTMAX, "softmax", logits, planes, cross_entropy=1), theirs)


def test_soft_cross_entropy_does_not_run_as_it_comes_and_ours_does():
    logits, classes, planes = draw_classes()
    with pytest.raises(TypeError):
        SoftCrossEntropyLoss()(logits, classes)
    assert compare(SOFTMAX, "softmax", logits, planes, cross_entropy=1).isfinite()


def test_soft_cross_entropy_divides_by_ignored_pixels_too_and_ours_by_those_that_count():
    logits, classes, planes = draw_classes()
    weights = torch.ones_like(planes[:, 0])
    weights[:, :3] = 0
    theirs = SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=9)(logits, classes.masked_fill(weights == 0, 9))
    ours = compare(SOFTMAX, "softmax", logits, planes, weights, cross_entropy=1)
    torch.testing.assert_close(ours, 2 * theirs)
    torch.testing.assert_close(ours, F.cross_entropy(logits[:, :, 3:], classes[:, 3:]))


def test_smp_s_dice_ignores_a_plane_without_a_true_pixel_and_ours_does_not():
    logits, planes = draw_planes()
    planes[:, 1] = 0
    logits = logits.requires_grad_()
    DiceLoss("multilabel", smooth=1.0)(logits, planes).backward()
    assert (logits.grad[:, 1] == 0).all()
    logits.grad = None
    compare(SIGMOID, "sigmoid", logits, planes, dice=1).backward()
    assert (logits.grad[:, 1] > 0).all()


def test_smp_s_dice_without_smoothing_does_not_depend_on_the_number_of_false_pixels_and_ours_does():
    nothing = torch.zeros(1, 1, 6, 5)
    few, many = torch.full_like(nothing, -9.0), torch.full_like(nothing, 9.0)
    assert DiceLoss("binary")(few, nothing) == DiceLoss("binary")(many, nothing) == 0
    few_cost, many_cost = (compare(("mask",), "sigmoid", logits, nothing, dice=1) for logits in (few, many))
    assert few_cost < 0.01
    assert many_cost > 0.9


def test_smp_s_class_weights_of_one_plane_raise_and_ours_do_not():
    with pytest.raises(ValueError, match="class_weights"):
        DiceLoss("binary", class_weights=[2.0])
    logits, planes = (grid[:, :1] for grid in draw_planes())
    weighed, plain = (compare(("mask",), "sigmoid", logits, planes, dice=1, dice_planes=x) for x in ({"mask": 2}, {}))
    assert weighed == plain


def test_weights_are_a_constant_of_the_loss_and_ours_come_with_the_batch():
    logits, planes = draw_planes()
    with pytest.raises(TypeError):
        SoftBCEWithLogitsLoss()(logits, planes, torch.ones(2, 6, 5))
    weights = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(5)) + 0.5
    wanted = (F.binary_cross_entropy_with_logits(logits, planes, reduction="none").mean(dim=1) * weights).mean()
    torch.testing.assert_close(compare(SIGMOID, "sigmoid", logits, planes, weights, cross_entropy=1), wanted)


def test_smp_s_lovasz_silently_takes_probabilities_for_logits():
    """So a caller who says from_logits=False is given the hinge of probabilities; ours has no such switch."""
    logits, planes = (grid[:, :1] for grid in draw_planes())
    probs = logits.sigmoid()
    theirs = LovaszLoss("binary", from_logits=False)(probs, planes)
    assert theirs == LovaszLoss("binary", from_logits=True)(probs, planes)
    ours = compare(("mask",), "sigmoid", logits, planes, lovasz=1, lovasz_over="batch", lovasz_hinge="relu")
    torch.testing.assert_close(ours, LovaszLoss("binary")(logits, planes))
    assert ours != theirs
