"""The loss of a config: all its terms, over all that a network answers."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.cross_entropy import (
    empty_cross_entropy,
    find_empty,
    pixel_cross_entropy,
    pixel_focal,
    weighted_mean,
)
from kaggle_unet.losses.region import lovasz_hinge, lovasz_softmax, soft_dice
from kaggle_unet.losses.settings import Activation, LossSettings, check_terms, term_plane_weights


class Outputs(Protocol):
    """What a network with more than one head gives while it trains."""

    @property
    def logits(self) -> Tensor:
        """Tensor, shape (B, C, H, W)."""
        ...

    @property
    def empty(self) -> Tensor | None:
        """Tensor, shape (B,), above 0 for images held to be empty; None without such a head."""
        ...

    @property
    def sides(self) -> Sequence[Tensor]:
        """Tensors, shape (B, C, h, w) each, of lower levels."""
        ...


class SegmentationLoss(nn.Module):
    """The sum of a config's terms, in float32 whatever the logits are.

    Parameters
    ----------
    settings : LossSettings
        Coefficients.
    plane_names : sequence of str
        The codec's planes, in order.
    activation : {"sigmoid", "softmax"}
        The codec's.

    Raises
    ------
    ConfigError
        If a plane in the settings does not exist, a setting is not for such a codec, or nothing is left to minimise.

    Notes
    -----
    Weights multiply the cross-entropy and the focal loss; Dice and Lovász look at nothing but whether a pixel counts. A
    pixel of weight 0 counts in no term, so ignoring pixels is the same as cutting them off. The Dice and Lovász terms
    are means over planes, weighted by their shares, see `kaggle_unet.losses.settings.term_plane_weights`.

    Logits smaller than the targets (a U-Net without padding) are compared with the middle of the targets. Side outputs
    are enlarged to the logits' size, bilinearly. The loss is finite for finite logits up to 1e30, far beyond what
    float16 holds.
    """

    def __init__(self, settings: LossSettings, plane_names: Sequence[str], activation: Activation) -> None:
        super().__init__()
        check_terms(settings, plane_names, activation)
        self.settings = settings
        self.activation: Activation = activation
        self._objects = [index for index, name in enumerate(plane_names) if name != "background"]
        self._terms: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
            name: term
            for name, term in {
                "cross_entropy": self._cross_entropy,
                "focal": self._focal,
                "dice": self._dice,
                "lovasz": self._lovasz,
            }.items()
            if getattr(settings, name)
        }
        for name in ("cross_entropy", "dice", "lovasz"):
            plane_weights = torch.tensor(term_plane_weights(settings, name, plane_names, activation))
            self.register_buffer(f"{name}_plane_weights", plane_weights, persistent=False)

    def forward(self, outputs: Tensor | Outputs, planes: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare what a network answers with targets."""
        logits, empty, sides = _unpack(outputs)
        batch, n_planes, height, width = logits.shape
        planes, weights = _middle(planes.float(), height, width), _middle(weights.float(), height, width)
        assert planes.shape == (batch, n_planes, height, width), (planes.shape, logits.shape)
        assert weights.shape == (batch, height, width), (weights.shape, logits.shape)
        self._check_heads(empty, sides, is_training=logits.requires_grad)
        parts = self._compare(logits, planes, weights)
        if self.settings.empty and empty is not None:
            is_empty = find_empty(planes[:, self._objects], weights)
            parts["empty"] = empty_cross_entropy(empty.float(), is_empty, weights)
        if self.settings.deep_supervision and sides:
            parts["deep_supervision"] = self._supervise(sides, planes, weights)
        return self._sum(parts), {name: part.detach() for name, part in parts.items()}

    def _compare(self, logits: Tensor, planes: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Compute the terms of logits alone."""
        logits = logits.float()
        return {name: term(logits, planes, weights) for name, term in self._terms.items()}

    def _sum(self, parts: dict[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self.settings, name) * part for name, part in parts.items()]).sum()

    def _supervise(self, sides: Sequence[Tensor], planes: Tensor, weights: Tensor) -> Tensor:
        if self.settings.deep_supervision_images == "non_empty":
            is_empty = find_empty(planes[:, self._objects], weights)
            weights = weights * ~is_empty[:, None, None]
        size = planes.shape[-2:]
        enlarged = (F.interpolate(side.float(), size, mode="bilinear", align_corners=False) for side in sides)
        losses = [self._sum(self._compare(logits, planes, weights)) for logits in enlarged]
        return torch.stack(losses).mean()

    def _cross_entropy(self, logits: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
        values = pixel_cross_entropy(logits, planes, self.activation, plane_weights=self._pixel_plane_weights())
        return weighted_mean(values, weights)

    def _focal(self, logits: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
        values = pixel_focal(
            logits,
            planes,
            self.activation,
            gamma=self.settings.focal_gamma,
            alpha=self.settings.focal_alpha,
            plane_weights=self._pixel_plane_weights(),
        )
        return weighted_mean(values, weights)

    def _dice(self, logits: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
        counted = (weights > 0).float()
        over, smooth = self.settings.dice_over, self.settings.smooth
        return self._plane_mean(1 - soft_dice(self._probs(logits), planes, counted, over=over, smooth=smooth), "dice")

    def _lovasz(self, logits: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
        if self.activation == "softmax":
            losses = lovasz_softmax(self._probs(logits), planes, weights, over=self.settings.lovasz_over)
        else:
            losses = lovasz_hinge(
                logits,
                planes,
                weights,
                over=self.settings.lovasz_over,
                hinge=self.settings.lovasz_hinge,
                symmetric=self.settings.lovasz_symmetric,
            )
        return self._plane_mean(losses, "lovasz")

    def _probs(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=1)

    def _pixel_plane_weights(self) -> Tensor | None:
        return self.get_buffer("cross_entropy_plane_weights") if self.settings.cross_entropy_planes else None

    def _plane_mean(self, losses: Tensor, term: str) -> Tensor:
        plane_weights = self.get_buffer(f"{term}_plane_weights")
        return (losses * plane_weights).sum() / plane_weights.sum()

    def _check_heads(self, empty: Tensor | None, sides: Sequence[Tensor], *, is_training: bool) -> None:
        for term, has_head, key in (
            ("empty", empty is not None, "model.empty_head"),
            ("deep_supervision", bool(sides), "model.deep_supervision"),
        ):
            if is_training and getattr(self.settings, term) and not has_head:
                msg = f"loss.{term} is {getattr(self.settings, term):g}, but the network has no such head; set {key}, "
                raise ConfigError(msg + f"or loss.{term} to 0")


def _unpack(outputs: Tensor | Outputs) -> tuple[Tensor, Tensor | None, Sequence[Tensor]]:
    if isinstance(outputs, Tensor):
        return outputs, None, ()
    return outputs.logits, outputs.empty, outputs.sides


def _middle(grid: Tensor, height: int, width: int) -> Tensor:
    """Cut the middle out of (..., H', W')."""
    top, left = (grid.shape[-2] - height) // 2, (grid.shape[-1] - width) // 2
    return grid[..., top : top + height, left : left + width]
