"""Soft Dice: twice the shared probability over the sum of both."""

from typing import Literal

from torch import Tensor


def soft_dice(
    probs: Tensor, planes: Tensor, counted: Tensor, *, over: Literal["batch", "image"], smooth: float
) -> Tensor:
    """Compute the soft Dice coefficient of every plane.

    Parameters
    ----------
    probs, planes : float32 tensor, shape (B, C, H, W)
        Probabilities and targets.
    counted : float32 tensor, shape (B, H, W)
        1 where a pixel counts, 0 where not.
    over : {"batch", "image"}
        Sums run over the whole batch, or over each image with a mean afterwards.
    smooth : float
        Added to numerator and denominator.

    Returns
    -------
    dice : float32 tensor, shape (C,)
        Between 0 and 1.

    Notes
    -----
    (2·Σ p·t + smooth) / (Σ p + Σ t + smooth). A plane that is empty in the target is not skipped: its Dice is
    smooth / (Σ p + smooth), so that false positives cost even on images without objects [1]_.

    References
    ----------
    .. [1] Milletari, Navab, Ahmadi: V-Net, 2016, without squares. https://arxiv.org/abs/1606.04797

    Examples
    --------
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
    return dice if over == "batch" else dice.mean(dim=0)
