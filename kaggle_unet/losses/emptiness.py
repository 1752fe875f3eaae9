"""Images without any object: which they are, and what a network's own opinion of it costs."""

import torch.nn.functional as F
from torch import Tensor


def find_empty(objects: Tensor, counted: Tensor) -> Tensor:
    """Tell which images hold no object.

    Parameters
    ----------
    objects : float32 tensor, shape (B, C, H, W)
        Target planes but the background's.
    counted : float32 tensor, shape (B, H, W)
        1 where a pixel counts, 0 where not.

    Returns
    -------
    is_empty : bool tensor, shape (B,)
        Whether no pixel that counts is above ½ in any plane.

    Examples
    --------
    >>> import torch
    >>> objects = torch.tensor([[[[0.0, 1.0]]], [[[0.0, 0.0]]]])
    >>> find_empty(objects, torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]]]))
    tensor([False,  True])
    >>> find_empty(objects, torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]]))
    tensor([True, True])
    """
    return ~((objects > 0.5) & (counted > 0).unsqueeze(1)).flatten(1).any(dim=1)


def empty_cross_entropy(logits: Tensor, is_empty: Tensor, counted: Tensor) -> Tensor:
    """Compute the cross-entropy of what a network says about emptiness."""
    is_asked = (counted > 0).flatten(1).any(dim=1)
    costs = F.binary_cross_entropy_with_logits(logits, is_empty.float(), reduction="none")
    return (costs * is_asked).sum() / is_asked.sum().clamp(min=1)
