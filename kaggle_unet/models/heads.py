"""What can stand at the end of a U-Net beside a convolution: a judge of emptiness, and maps of all levels at once.

What a network with more than one head answers, and when.

While it trains, such a network gives all it knows as `Outputs`; in evaluation it gives logits alone, so that whatever
predicts, cuts tiles or exports need not know about heads. A validation, which wants both, asks with `forward_all`.

Attention for a block's output: what counts, and where.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.models.settings import EmptyHeadSettings

# What a pixel's logit is at most in an image that is held to be empty: a probability of 0.00005, below any threshold,
# and yet no infinity that a mean over views or a loss would have to carry.
_EMPTY_LOGIT = -10.0


class Outputs(NamedTuple):
    """All that a network says about a batch; a tuple, so that Fabric and DDP know how to handle it."""

    logits: Tensor
    empty: Tensor | None = None
    sides: tuple[Tensor, ...] = ()
    gate_above: float | None = None

    @property
    def predicted(self) -> Tensor:
        """Logits to predict with: cleared where the gate says so."""
        if self.empty is None or self.gate_above is None:
            return self.logits
        return suppress_empty(self.logits, self.empty, above=self.gate_above)


def select_outputs(outputs: Outputs, *, is_training: bool) -> Tensor | Outputs:
    """Choose what a network gives."""
    if is_training and (outputs.empty is not None or outputs.sides):
        return outputs
    return outputs.predicted


def forward_all(network: nn.Module, inputs: Tensor) -> Tensor | Outputs:
    """Ask a network for all that it says in evaluation."""
    ask: Callable[[Tensor], Outputs] | None = getattr(network, "outputs", None)
    if ask is None:
        logits: Tensor = network(inputs)
        return logits
    outputs = ask(inputs)
    return outputs.logits if outputs.empty is None else outputs


def suppress_empty(logits: Tensor, empty: Tensor, *, above: float) -> Tensor:
    """Clear the images that are held to be empty.

    >>> suppress_empty(torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]]), torch.tensor([2.0, 0.0]), above=0.5).flatten()
    tensor([-10., -20.,   3.,   1.])
    """
    is_empty = (empty.float().sigmoid() > above)[:, None, None, None]
    return torch.where(is_empty, logits.clamp(max=_EMPTY_LOGIT), logits)


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation: x · channel gate + x · pixel gate.

    Parameters
    ----------
    channels : int
        Of the maps.

    Notes
    -----
    The channel gate squeezes to a sixteenth of the channels, as smp's and the TGS kits' do, but to 4 at least (or all
    that there are), as a thin U-Net would be left with one. Added, not maximised [1]_.

    References
    ----------
    .. [1] Roy, Navab, Wachinger: Concurrent Spatial and Channel 'Squeeze & Excitation' in Fully Convolutional
       Networks, 2018. https://arxiv.org/abs/1803.02579
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
        """Weigh channels and pixels.

        Parameters
        ----------
        x : tensor, shape (B, channels, H, W)
            A block's output.

        Returns
        -------
        x : tensor, shape (B, channels, H, W)
            Of twice the size at most.
        """
        weighed: Tensor = x * (self.channel(x) + self.pixel(x))
        return weighed


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
