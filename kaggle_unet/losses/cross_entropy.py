"""Cross-entropy, pixel by pixel, and its weighted mean."""

import torch.nn.functional as F
from torch import Tensor

from kaggle_unet.losses.settings import Activation


def pixel_cross_entropy(
    logits: Tensor, planes: Tensor, activation: Activation, *, shares: Tensor | None = None
) -> Tensor:
    """Compute the cross-entropy of every pixel.

    Parameters
    ----------
    logits : float32 tensor, shape (B, C, H, W)
        What the network gave.
    planes : float32 tensor, shape (B, C, H, W)
        Targets; they sum to 1 over C for `softmax`.
    activation : {"sigmoid", "softmax"}
        `sigmoid` takes the mean of C binary cross-entropies, so that codecs of one and of two planes are on one scale.
    shares : float32 tensor, shape (C,), optional
        Weights of that mean, not all 0; None takes the plain one. Without effect for `softmax`.

    Returns
    -------
    cross_entropy : float32 tensor, shape (B, H, W)
        In nats, not negative.

    Notes
    -----
    The softmax form is written out because the backward pass of torch's NLLLoss has no deterministic version on CUDA.
    """
    if activation == "sigmoid":
        return plane_mean(F.binary_cross_entropy_with_logits(logits, planes, reduction="none"), shares)
    return -(planes * F.log_softmax(logits, dim=1)).sum(dim=1)


def plane_mean(values: Tensor, shares: Tensor | None) -> Tensor:
    """Average over planes.

    Parameters
    ----------
    values : float32 tensor, shape (B, C, H, W)
        One for each plane.
    shares : float32 tensor, shape (C,), or None
        Weights, not all 0; None weighs all planes alike.

    Returns
    -------
    mean : float32 tensor, shape (B, H, W)
        Σ share·value / Σ share.

    Examples
    --------
    >>> import torch
    >>> plane_mean(torch.tensor([1.0, 5.0]).view(1, 2, 1, 1), torch.tensor([3.0, 1.0])).item()
    2.0
    """
    if shares is None:
        return values.mean(dim=1)
    return (values * (shares / shares.sum()).view(-1, 1, 1)).sum(dim=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Average over the pixels that count.

    Parameters
    ----------
    values, weights : float32 tensor, shape (B, H, W)
        A pixel of weight 0 does not count.

    Returns
    -------
    mean : float32 tensor, shape ()
        Σ w·v over the number of pixels with w > 0; 0 where none counts.

    Notes
    -----
    The divisor is a number of pixels and not Σ w: weights that are 1 on average leave the loss on its scale, and twice
    the weight of a pixel is twice its share in the loss, whatever the others weigh.

    Examples
    --------
    >>> import torch
    >>> weighted_mean(torch.tensor([[[1.0, 2.0, 5.0]]]), torch.tensor([[[1.0, 3.0, 0.0]]]))
    tensor(3.5000)
    """
    n_counted = (weights > 0).sum().clamp(min=1)
    return (values * weights).sum() / n_counted
