"""Cross-entropy and focal loss of each pixel, their weighted mean, and the cross-entropy of an empty head."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_unet.losses.settings import Activation


def pixel_cross_entropy(
    logits: Tensor, planes: Tensor, activation: Activation, *, plane_weights: Tensor | None = None
) -> Tensor:
    """Compute the cross-entropy of every pixel in nats, shape (B, H, W), from logits and targets (B, C, H, W).

    `sigmoid` takes the mean of C binary cross-entropies, weighted by `plane_weights` (C,), so that codecs with one
    plane and with two are on the same scale.
    """
    if activation == "sigmoid":
        return plane_mean(F.binary_cross_entropy_with_logits(logits, planes, reduction="none"), plane_weights)
    # Written out because the backward pass of torch's NLLLoss has no deterministic version on CUDA.
    return -(planes * F.log_softmax(logits, dim=1)).sum(dim=1)


def plane_mean(values: Tensor, plane_weights: Tensor | None) -> Tensor:
    """Average over planes (B, C, H, W), weighted if weights (C,) are given: Σ w·v / Σ w; shape (B, H, W).

    >>> import torch
    >>> plane_mean(torch.tensor([1.0, 5.0]).view(1, 2, 1, 1), torch.tensor([3.0, 1.0])).item()
    2.0
    """
    if plane_weights is None:
        return values.mean(dim=1)
    return (values * (plane_weights / plane_weights.sum()).view(-1, 1, 1)).sum(dim=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return Σ w·v divided by the number of pixels with w > 0, or 0 if there are none.

    The divisor is not Σ w, so that doubling a pixel's weight doubles its part of the loss, whatever the others weigh.

    >>> import torch
    >>> weighted_mean(torch.tensor([[[1.0, 2.0, 5.0]]]), torch.tensor([[[1.0, 3.0, 0.0]]]))
    tensor(3.5000)
    """
    n_counted = (weights > 0).sum().clamp(min=1)
    return (values * weights).sum() / n_counted


def pixel_focal(
    logits: Tensor,
    planes: Tensor,
    activation: Activation,
    *,
    gamma: float,
    alpha: float | None = None,
    plane_weights: Tensor | None = None,
) -> Tensor:
    """Compute the focal loss of every pixel as in `pixel_cross_entropy`: −(1 − p)^gamma · log p, with the truth's p.

    `alpha` weighs positive pixels, 1 − alpha negative ones; `sigmoid` only. (1 − p)^gamma is computed as
    exp(gamma · log(1 − p)): a power has no gradient where p is 1 and gamma below 1. Targets between 0 and 1 divide a
    pixel between positive and negative. Lin et al.: Focal Loss for Dense Object Detection, 2017,
    https://arxiv.org/abs/1708.02002.

    >>> logit = torch.tensor(3.0).log().view(1, 1, 1, 1)  # a probability of 3/4
    >>> pixel_focal(logit, torch.ones(1, 1, 1, 1), "sigmoid", gamma=2) / -torch.tensor(0.75).log()
    tensor([[[0.0625]]])
    """
    if activation == "softmax":
        log_p = F.log_softmax(logits, dim=1)
        return (planes * _focal(log_p, _log_others(logits), gamma)).sum(dim=1)
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    yes, no = planes * _focal(log_yes, log_no, gamma), (1 - planes) * _focal(log_no, log_yes, gamma)
    if alpha is not None:
        yes, no = alpha * yes, (1 - alpha) * no
    return plane_mean(yes + no, plane_weights)


def _focal(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    return -log_p * (gamma * log_rest).exp() if gamma else -log_p


def _log_others(logits: Tensor) -> Tensor:
    """Return log(1 − softmax) of every plane, exact even where the softmax is close to 1."""
    n_planes = logits.shape[1]
    total = logits.logsumexp(dim=1)
    others = [logits[:, [k for k in range(n_planes) if k != plane]].logsumexp(dim=1) for plane in range(n_planes)]
    return torch.stack([other - total for other in others], dim=1)


def find_empty(objects: Tensor, counted: Tensor) -> Tensor:
    """Return True for images without a counted pixel above ½ in any plane; shape (B,).

    >>> import torch
    >>> find_empty(torch.tensor([[[[0.0, 1.0]]], [[[0.0, 0.0]]]]), torch.ones(2, 1, 2))
    tensor([False,  True])
    """
    return ~((objects > 0.5) & (counted > 0).unsqueeze(1)).flatten(1).any(dim=1)


def empty_cross_entropy(logits: Tensor, is_empty: Tensor, counted: Tensor) -> Tensor:
    """Compute the cross-entropy of an empty head's logits, shape (B,), over images with pixels that count."""
    counts = (counted > 0).flatten(1).any(dim=1)
    costs = F.binary_cross_entropy_with_logits(logits, is_empty.float(), reduction="none")
    return (costs * counts).sum() / counts.sum().clamp(min=1)
