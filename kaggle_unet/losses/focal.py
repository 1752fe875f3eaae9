"""Focal loss: a cross-entropy that turns from the pixels which are right already to those that are not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_unet.losses.cross_entropy import plane_mean
from kaggle_unet.losses.settings import Activation


def pixel_focal(
    logits: Tensor,
    planes: Tensor,
    activation: Activation,
    *,
    gamma: float,
    alpha: float | None = None,
    shares: Tensor | None = None,
) -> Tensor:
    """Compute the focal loss of every pixel: −(1 − p)^gamma · log p, p the probability of what is true.

    Parameters
    ----------
    logits : float32 tensor, shape (B, C, H, W)
        What the network gave.
    planes : float32 tensor, shape (B, C, H, W)
        Targets; they sum to 1 over C for `softmax`.
    activation : {"sigmoid", "softmax"}
        `sigmoid` takes the mean over planes, each of which is a question of yes or no.
    gamma : float
        Not negative; 0 makes it the cross-entropy.
    alpha : float, optional
        Weight of yes, 1 − alpha that of no; `sigmoid` only.
    shares : float32 tensor, shape (C,), optional
        Weights of the mean over planes; `sigmoid` only.

    Returns
    -------
    focal : float32 tensor, shape (B, H, W)
        In nats, not negative.

    Notes
    -----
    (1 − p)^gamma is computed as exp(gamma · log(1 − p)): a power has no gradient where p is 1 and gamma below 1.
    Targets between 0 and 1 share a pixel out between yes and no.

    References
    ----------
    .. [1] Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection, 2017.
       https://arxiv.org/abs/1708.02002

    Examples
    --------
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
    return plane_mean(yes + no, shares)


def _focal(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    return -log_p * (gamma * log_rest).exp() if gamma else -log_p


def _log_others(logits: Tensor) -> Tensor:
    """Give log(1 − softmax) of every plane, exact where the softmax is next to 1."""
    n_planes = logits.shape[1]
    total = logits.logsumexp(dim=1)
    others = [logits[:, [k for k in range(n_planes) if k != plane]].logsumexp(dim=1) for plane in range(n_planes)]
    return torch.stack([other - total for other in others], dim=1)
