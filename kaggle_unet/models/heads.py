"""What can stand at the end of a U-Net beside a convolution: a judge of emptiness, and maps of all levels at once."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.models.settings import EmptyHeadSettings


class EmptyHead(nn.Module):
    """One logit for an image, above 0 where it is held to hold no object.

    As smp's `aux_params` makes it: pooling, dropout, one linear layer.
    """

    def __init__(self, n_in: int, settings: EmptyHeadSettings) -> None:
        super().__init__()
        self.pooling = settings.pooling
        self.dropout = nn.Dropout(settings.dropout)
        self.linear = nn.Linear(n_in, 1)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, lowest: Tensor) -> Tensor:
        """Judge images."""
        pooled = lowest.mean(dim=(2, 3)) if self.pooling == "avg" else lowest.amax(dim=(2, 3))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits.squeeze(1)


class Hypercolumn(nn.Module):
    """The maps of all levels of a decoder, side by side at the size of the last.

    Parameters
    ----------
    widths : sequence of int
        Channels of the maps, the lowest level's first; the last is also what comes out.
    norm, activation : Module
        What follows the convolution that reads them together; the norm of `widths[-1]` channels.

    Notes
    -----
    Each map is brought to the last one's width by a 1 × 1 convolution, where it is small still, then enlarged
    bilinearly; a 3 × 3 convolution reads them together. Levels of one width are what the 1st place of the TGS
    challenge had; the idea is that of [1]_.

    References
    ----------
    .. [1] Hariharan, Arbeláez, Girshick, Malik: Hypercolumns for Object Segmentation, 2015.
       https://arxiv.org/abs/1411.5752
    """

    def __init__(self, widths: Sequence[int], *, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        n_out = widths[-1]
        self.narrow = nn.ModuleList(_narrowing(n_in, n_out) for n_in in widths[:-1])
        self.merge = _initialise(nn.Conv2d(n_out * len(widths), n_out, 3, padding=1), "relu")
        self.norm = norm
        self.activation = activation

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Read all levels together.

        Parameters
        ----------
        maps : sequence of tensor, shape (B, widths[k], h_k, w_k)
            The lowest level's first.

        Returns
        -------
        top : tensor, shape (B, widths[-1], H, W)
            Of the size of the last map.
        """
        top = maps[-1]
        enlarged = [
            F.interpolate(narrow(level), top.shape[-2:], mode="bilinear", align_corners=False)
            for narrow, level in zip(self.narrow, maps[:-1], strict=True)
        ]
        merged: Tensor = self.activation(self.norm(self.merge(torch.cat([*enlarged, top], dim=1))))
        return merged


class SideHeads(nn.Module):
    """Logits from the lower levels of a decoder, to be compared with the targets while the network trains."""

    def __init__(self, widths: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_narrowing(n_in, n_out) for n_in in widths[:-1])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute logits at each level's own size."""
        return tuple(head(level) for head, level in zip(self.heads, maps[:-1], strict=True))


def _narrowing(n_in: int, n_out: int) -> nn.Module:
    return _initialise(nn.Conv2d(n_in, n_out, 1), "linear")


def _initialise(conv: nn.Conv2d, before: Literal["linear", "relu"]) -> nn.Module:
    """Draw weights that keep the variance before what follows, and set biases to 0."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity=before)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
