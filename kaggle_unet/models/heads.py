"""Auxiliary heads of a U-Net (empty head, hypercolumn, deep supervision), its outputs, and scSE attention.

In training, a network with auxiliary heads returns all its `Outputs`; in evaluation it returns only logits, so that
prediction, tiling and export need not know about heads. Validation needs both and calls `forward_all`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.models.settings import EmptyHeadSettings

# The highest logit in an image taken to be empty: a probability of 0.00005, below any threshold, but finite, because a
# mean over flips or a loss could not handle infinity.
_EMPTY_LOGIT = -10.0


class Outputs(NamedTuple):
    """All outputs of a network for a batch; a tuple, so that Fabric and DDP know how to handle it."""

    logits: Tensor
    empty: Tensor | None = None
    sides: tuple[Tensor, ...] = ()
    gate_above: float | None = None


def select_outputs(outputs: Outputs, *, is_training: bool) -> Tensor | Outputs:
    """Return all outputs in training if there are auxiliary heads, else the logits for prediction.

    These are so low in images taken to be empty that nothing is found there:

    >>> logits = torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]])
    >>> select_outputs(Outputs(logits, torch.tensor([2.0, 0.0]), gate_above=0.5), is_training=False).flatten()
    tensor([-10., -20.,   3.,   1.])
    """
    logits, empty, sides, gate_above = outputs
    if is_training and (empty is not None or sides):
        return outputs
    if empty is None or gate_above is None:
        return logits
    is_empty = (empty.float().sigmoid() > gate_above)[:, None, None, None]
    return torch.where(is_empty, logits.clamp(max=_EMPTY_LOGIT), logits)


def forward_all(network: nn.Module, inputs: Tensor) -> Tensor | Outputs:
    """Return the outputs of a network in evaluation mode, or only its logits if it has no empty head."""
    compute: Callable[[Tensor], Tensor | Outputs] = getattr(network, "outputs", network)
    outputs = compute(inputs)
    return outputs.logits if isinstance(outputs, Outputs) and outputs.empty is None else outputs


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation: x · channel gate + x · pixel gate.

    The channel gate squeezes to a sixteenth of the channels, but to at least 4 (or all there are). Roy, Navab,
    Wachinger 2018, https://arxiv.org/abs/1803.02579.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = min(channels, max(4, channels // 16))
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )
        self.pixel = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Weight channels and pixels of maps (B, channels, H, W)."""
        weighed: Tensor = x * (self.channel(x) + self.pixel(x))
        return weighed


class EmptyHead(nn.Module):
    """One logit per image, above 0 if it is taken to hold no object: pooling, dropout and a linear layer, as in smp."""

    def __init__(self, n_in: int, settings: EmptyHeadSettings) -> None:
        super().__init__()
        self.pooling = settings.pooling
        self.dropout = nn.Dropout(settings.dropout)
        self.linear = nn.Linear(n_in, 1)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, lowest: Tensor) -> Tensor:
        """Compute one logit per image, shape (B,)."""
        pooled = lowest.mean(dim=(2, 3)) if self.pooling == "avg" else lowest.amax(dim=(2, 3))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits.squeeze(1)


class Hypercolumn(nn.Module):
    """The maps of all levels of a decoder, side by side at the size of the last.

    A 1 × 1 convolution gives each map as many channels as the last one has, before the map is enlarged bilinearly; a
    3 × 3 convolution with norm and activation reads all of them. Hariharan, Arbeláez, Girshick, Malik 2015,
    https://arxiv.org/abs/1411.5752.
    """

    def __init__(self, widths: Sequence[int], *, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        n_out = widths[-1]
        self.narrow = nn.ModuleList(initialise(nn.Conv2d(n_in, n_out, 1), gain=1) for n_in in widths[:-1])
        self.merge = initialise(nn.Conv2d(n_out * len(widths), n_out, 3, padding=1), gain=2)
        self.norm = norm
        self.activation = activation

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Join the maps of all levels, the lowest first, at the size of the last."""
        top = maps[-1]
        enlarged = [
            F.interpolate(narrow(level), top.shape[-2:], mode="bilinear", align_corners=False)
            for narrow, level in zip(self.narrow, maps[:-1], strict=True)
        ]
        merged: Tensor = self.activation(self.norm(self.merge(torch.cat([*enlarged, top], dim=1))))
        return merged


class SideHeads(nn.Module):
    """Deep supervision: logits from the lower levels of a decoder, compared with the targets in training."""

    def __init__(self, widths: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(initialise(nn.Conv2d(n_in, n_out, 1), gain=1) for n_in in widths[:-1])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute logits for each level, at its own size."""
        return tuple(head(level) for head, level in zip(self.heads, maps[:-1], strict=True))


def initialise(conv: nn.Conv2d | nn.ConvTranspose2d, *, gain: float) -> nn.Module:
    """Draw weights of variance gain / N, where N is the number of values that each output sums; set biases to 0."""
    n_incoming = conv.in_channels * math.prod(conv.kernel_size) / (math.prod(conv.stride) if conv.transposed else 1)
    nn.init.normal_(conv.weight, std=math.sqrt(gain / n_incoming))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
