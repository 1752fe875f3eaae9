"""What a network with more than one head answers, and when.

While it trains, such a network gives all it knows as `Outputs`; in evaluation it gives logits alone, so that whatever
predicts, cuts tiles or exports need not know about heads. A validation, which wants both, asks with `look`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

# What a pixel's logit is at most in an image that is held to be empty: a probability of 0.00005, below any threshold,
# and yet no infinity that a mean over views or a loss would have to carry.
_EMPTY_LOGIT = -10.0


class Outputs(NamedTuple):
    """All that a network says about a batch; a tuple, so that Fabric and DDP know how to handle it.

    Attributes
    ----------
    logits : tensor, shape (B, C, H, W)
        Of the planes.
    empty : tensor, shape (B,), or None
        Logit of an image without any object; None for networks without that head.
    sides : tuple of tensor, shape (B, C, H / 2^k, W / 2^k)
        Logits of the planes from each lower level of the decoder, the lowest first; only while the network trains.
    gate_above : float, optional
        See `gate`; None never empties an image.
    """

    logits: Tensor
    empty: Tensor | None = None
    sides: tuple[Tensor, ...] = ()
    gate_above: float | None = None

    @property
    def predicted(self) -> Tensor:
        """Logits to predict with: cleared where the gate says so."""
        if self.empty is None or self.gate_above is None:
            return self.logits
        return gate(self.logits, self.empty, above=self.gate_above)


def answer(outputs: Outputs, *, is_training: bool) -> Tensor | Outputs:
    """Choose what a network gives.

    Parameters
    ----------
    outputs : Outputs
        All it knows.
    is_training : bool
        Whether it learns.

    Returns
    -------
    answer : Outputs, or tensor of shape (B, C, H, W)
        Everything while it learns, if there is more than logits; otherwise logits, gated.
    """
    if is_training and (outputs.empty is not None or outputs.sides):
        return outputs
    return outputs.predicted


def look(network: nn.Module, inputs: Tensor) -> Tensor | Outputs:
    """Ask a network for all that it says in evaluation.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    inputs : float32 tensor, shape (B, channels, H, W)
        Of a size that it takes.

    Returns
    -------
    answer : tensor of shape (B, C, H, W), or Outputs
        Logits without any gate; of a network with an empty head, that head's, too.
    """
    ask: Callable[[Tensor], Outputs] | None = getattr(network, "outputs", None)
    if ask is None:
        logits: Tensor = network(inputs)
        return logits
    outputs = ask(inputs)
    return outputs.logits if outputs.empty is None else outputs


def gate(logits: Tensor, empty: Tensor, *, above: float) -> Tensor:
    """Clear the images that are held to be empty.

    Parameters
    ----------
    logits : tensor, shape (B, C, H, W)
        Of planes that are independent of each other (sigmoid codecs).
    empty : tensor, shape (B,)
        Logit of an image without any object.
    above : float
        Images whose probability of being empty is above this are cleared.

    Returns
    -------
    logits : tensor, shape (B, C, H, W)
        At most −10 in cleared images; unchanged in others.

    Examples
    --------
    >>> gate(torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]]), torch.tensor([2.0, 0.0]), above=0.5).flatten()
    tensor([-10., -20.,   3.,   1.])
    """
    is_empty = (empty.float().sigmoid() > above)[:, None, None, None]
    return torch.where(is_empty, logits.clamp(max=_EMPTY_LOGIT), logits)
