"""Losses of regions: soft Dice, the Lovász hinge and Lovász-Softmax.

In a Lovász loss a pixel's error is multiplied by what the IoU loses when this pixel becomes wrong after all those with
larger errors. These factors are constants to the gradient: they are computed outside autograd, and the backward pass is
one product, with the same bits on any device.

Probabilities or logits and `planes`, the targets, have the shape (B, C, H, W). `counted`, (B, H, W), is 0 where a pixel
does not count, otherwise 1 or, for a Lovász loss, anything above 0. Sums and IoUs run `over` the whole batch, or over
each image, averaged over the images with pixels that count; the result has one number per plane, shape (C,).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Over = Literal["batch", "image"]


def soft_dice(probs: Tensor, planes: Tensor, counted: Tensor, *, over: Over, smooth: float) -> Tensor:
    """Compute the soft Dice coefficient of every plane: (2·Σ p·t + smooth) / (Σ p + Σ t + smooth).

    A plane that is empty in the target is not skipped: its Dice is smooth / (Σ p + smooth), so that false positives
    cost something even in images without objects. Milletari, Navab, Ahmadi: V-Net, 2016, without squares,
    https://arxiv.org/abs/1606.04797.

    >>> import torch
    >>> probs, planes = torch.tensor([[[[0.5, 0.5, 0.9]]]]), torch.tensor([[[[1.0, 0.0, 0.0]]]])
    >>> soft_dice(probs, planes, torch.tensor([[[1.0, 1.0, 0.0]]]), over="batch", smooth=1.0)  # (2·½ + 1) / (1 + 1 + 1)
    tensor([0.6667])
    """
    axes = (0, 2, 3) if over == "batch" else (2, 3)
    counted = counted.unsqueeze(1)  # (B, 1, H, W)
    shared = (probs * planes * counted).sum(dim=axes)
    total = ((probs + planes) * counted).sum(dim=axes)
    dice = (2 * shared + smooth) / (total + smooth)
    return dice if over == "batch" else _mean_over_images(dice, counted)


def _mean_over_images(values: Tensor, counted: Tensor) -> Tensor:
    """Average (B, C) over the images with pixels that count, or over all if there are none."""
    is_counted = counted.flatten(1).amax(dim=1, keepdim=True) > 0
    part = (is_counted | ~is_counted.any()).to(values.dtype)
    return (values * part).sum(dim=0) / part.sum()


def lovasz_hinge(
    logits: Tensor,
    planes: Tensor,
    counted: Tensor,
    *,
    over: Over,
    hinge: Literal["relu", "elu1"],
    symmetric: bool = False,
) -> Tensor:
    """Compute the Lovász hinge of every plane; it is not negative, and 0 where nothing counts.

    Targets above ½ are positive, as an IoU knows nothing in between. An error e is 1 − logit, or 1 + logit where the
    target is negative; it costs max(e, 0), or ELU(e) + 1, which is the same plus 1 above 0 and never quite 0 below. An
    image without objects costs its single worst pixel (the IoU is 0 from the first false one on). The symmetric form,
    the mean of this loss and that of the background, with logits and targets inverted, counts all pixels of such an
    image.

    Berman, Rannen Triki, Blaschko: The Lovász-Softmax loss, 2018, https://arxiv.org/abs/1705.08790. ELU + 1 comes from
    the 1st place of TGS, https://www.kaggle.com/c/tgs-salt-identification-challenge, the symmetric form from the 9th,
    https://github.com/tugstugi/pytorch-saltnet.

    Two pixels, both positive; the second is wrong by an error of 2, without which the IoU is ½:

    >>> logits, yes = torch.tensor([[[[2.0, -1.0]]]]), torch.ones(1, 1, 1, 2)
    >>> lovasz_hinge(logits, yes, torch.ones(1, 1, 2), over="image", hinge="relu")
    tensor([1.])
    """
    truth = planes > 0.5
    losses = _hinge_once(logits, truth, counted, over=over, hinge=hinge)
    if symmetric:
        losses = (losses + _hinge_once(-logits, ~truth, counted, over=over, hinge=hinge)) / 2
    return losses


def lovasz_softmax(probs: Tensor, planes: Tensor, counted: Tensor, *, over: Over) -> Tensor:
    """Compute the Lovász-Softmax loss of every plane, shape (C,): as `lovasz_hinge`, on errors |target − probability|.

    It lies between 0 and 1. A plane that is empty in the target costs its largest false probability.

    >>> probs, yes = torch.tensor([[[[0.75, 0.5]]]]), torch.ones(1, 1, 1, 2)
    >>> lovasz_softmax(probs, yes, torch.ones(1, 1, 2), over="image")  # (¼ + ½) / 2
    tensor([0.3750])
    """
    truth = planes > 0.5
    errors = torch.where(truth, 1 - probs, probs)
    return _weigh(errors, errors, truth, counted, over)


def _hinge_once(
    logits: Tensor, truth: Tensor, counted: Tensor, *, over: Over, hinge: Literal["relu", "elu1"]
) -> Tensor:
    errors = torch.where(truth, 1 - logits, 1 + logits)
    costs = F.relu(errors) if hinge == "relu" else F.elu(errors) + 1
    return _weigh(costs, errors, truth, counted, over)


def _weigh(costs: Tensor, errors: Tensor, truth: Tensor, counted: Tensor, over: Over) -> Tensor:
    """Sum costs (B, C, H, W), each times what the IoU loses at its pixel; shape (C,)."""
    counts = (counted > 0).unsqueeze(1).expand_as(costs)  # (B, C, H, W)
    factors = _iou_losses(*(_rows(grid, over) for grid in (errors.detach(), truth & counts, counts)))
    losses = (_rows(costs, over) * factors).sum(dim=-1)
    return losses[0] if over == "batch" else _mean_over_images(losses, counted)


def _rows(grid: Tensor, over: Over) -> Tensor:
    """Lay the pixels of each plane in a row: (B, C, H·W), or (1, C, B·H·W) over the batch."""
    rows = grid.flatten(2)
    return rows if over == "image" else rows.transpose(0, 1).flatten(1).unsqueeze(0)


def _iou_losses(errors: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """Return what the IoU loses at each pixel when pixels become wrong one by one, the largest errors first.

    A pixel of the object is taken from the intersection, any other is added to the union, so each loss has a formula of
    its own; differences of sums would need float64. Pixels that do not count come last and lose nothing.
    """
    order = errors.masked_fill(~counts, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    is_true, is_counted = truth.gather(-1, order), counts.gather(-1, order)
    n_true = is_true.sum(dim=-1, keepdim=True)
    intersection = n_true - is_true.cumsum(dim=-1)
    union = n_true + (~is_true).cumsum(dim=-1)
    loss = torch.where(is_true, 1 / union, intersection / (union * (union - 1)).clamp(min=1))
    # the first wrong pixel of an image without objects: from an IoU of 1, as both are empty, to 0
    loss = loss.masked_fill(~is_true & (union == 1), 1.0)
    return torch.zeros_like(errors).scatter(-1, order, loss * is_counted)
