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
        return gate(self.logits, self.empty, above=self.gate_above)


def answer(outputs: Outputs, *, is_training: bool) -> Tensor | Outputs:
    """Choose what a network gives."""
    if is_training and (outputs.empty is not None or outputs.sides):
        return outputs
    return outputs.predicted


def look(network: nn.Module, inputs: Tensor) -> Tensor | Outputs:
    """Ask a network for all that it says in evaluation."""
    ask: Callable[[Tensor], Outputs] | None = getattr(network, "outputs", None)
    if ask is None:
        logits: Tensor = network(inputs)
        return logits
    outputs = ask(inputs)
    return outputs.logits if outputs.empty is None else outputs


def gate(logits: Tensor, empty: Tensor, *, above: float) -> Tensor:
    """Clear the images that are held to be empty.

    >>> gate(torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]]), torch.tensor([2.0, 0.0]), above=0.5).flatten()
    tensor([-10., -20.,   3.,   1.])
    """
    is_empty = (empty.float().sigmoid() > above)[:, None, None, None]
    return torch.where(is_empty, logits.clamp(max=_EMPTY_LOGIT), logits)
