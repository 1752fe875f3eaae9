"""The loss of a config: the sum of its terms over all outputs of a network."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.losses.cross_entropy import (
    empty_cross_entropy,
    find_empty,
    pixel_cross_entropy,
    pixel_focal,
    weighted_mean,
)
from kaggle_unet.losses.region import lovasz_hinge, lovasz_softmax, soft_dice
from kaggle_unet.losses.settings import Activation, LossSettings, check_terms, term_plane_weights

# A network's logits, its empty head's, those of deep supervision, and more; see `kaggle_unet.models.heads.Outputs`.
Outputs = tuple[Tensor, Tensor | None, Sequence[Tensor], Any]


class SegmentationLoss(nn.Module):
    """The sum of a config's terms, in float32 whatever the dtype of the logits.

    Weights multiply the cross-entropy and the focal loss; for Dice and Lovász, a pixel counts or does not. A pixel of
    weight 0 counts in no term, so ignoring pixels is the same as cutting them off. Logits smaller than the targets (a
    U-Net without padding) are compared with the middle of the targets, and side outputs enlarged to their size. The
    loss is finite for finite logits up to 1e30, far beyond the range of float16.
    """

    def __init__(self, settings: LossSettings, plane_names: Sequence[str], activation: Activation) -> None:
        super().__init__()
        check_terms(settings, plane_names, activation)
        self.settings = settings
        self.activation: Activation = activation
        self._objects = [index for index, name in enumerate(plane_names) if name != "background"]
        for name in ("cross_entropy", "dice", "lovasz"):
            plane_weights = torch.tensor(term_plane_weights(settings, name, plane_names, activation))
            self.register_buffer(f"{name}_plane_weights", plane_weights, persistent=False)

    def forward(self, outputs: Tensor | Outputs, planes: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms before their coefficients, detached.

        `outputs` are logits (B, C, h, w), or in training also those of auxiliary heads; planes (B, C, H, W) and weights
        (B, H, W) are the targets.
        """
        logits, empty, sides, _ = (outputs, None, (), None) if isinstance(outputs, Tensor) else outputs
        batch, n_planes, height, width = logits.shape
        top, left = (planes.shape[2] - height) // 2, (planes.shape[3] - width) // 2
        middle = (..., slice(top, top + height), slice(left, left + width))
        planes, weights = planes.float()[middle], weights.float()[middle]
        assert planes.shape == (batch, n_planes, height, width), (planes.shape, logits.shape)
        assert weights.shape == (batch, height, width), (weights.shape, logits.shape)
        terms = self._compare(logits, planes, weights)
        if self.settings.empty and empty is not None:
            is_empty = find_empty(planes[:, self._objects], weights)
            terms["empty"] = empty_cross_entropy(empty.float(), is_empty, weights)
        if self.settings.deep_supervision and sides:
            terms["deep_supervision"] = self._supervise(sides, planes, weights)
        return self._sum(terms), {name: term.detach() for name, term in terms.items()}

    def _compare(self, logits: Tensor, planes: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Compute the terms that compare one map of logits with the targets."""
        settings, logits, terms = self.settings, logits.float(), {}
        is_softmax = self.activation == "softmax"
        pixel_weights = self.get_buffer("cross_entropy_plane_weights") if settings.cross_entropy_planes else None
        if settings.cross_entropy:
            values = pixel_cross_entropy(logits, planes, self.activation, plane_weights=pixel_weights)
            terms["cross_entropy"] = weighted_mean(values, weights)
        if settings.focal:
            gamma, alpha = settings.focal_gamma, settings.focal_alpha
            values = pixel_focal(logits, planes, self.activation, gamma=gamma, alpha=alpha, plane_weights=pixel_weights)
            terms["focal"] = weighted_mean(values, weights)
        by_plane = {}
        if settings.dice:
            probs, counted = logits.softmax(dim=1) if is_softmax else logits.sigmoid(), (weights > 0).float()
            by_plane["dice"] = 1 - soft_dice(probs, planes, counted, over=settings.dice_over, smooth=settings.smooth)
        if settings.lovasz and is_softmax:
            by_plane["lovasz"] = lovasz_softmax(logits.softmax(dim=1), planes, weights, over=settings.lovasz_over)
        elif settings.lovasz:
            over, hinge, symmetric = settings.lovasz_over, settings.lovasz_hinge, settings.lovasz_symmetric
            by_plane["lovasz"] = lovasz_hinge(logits, planes, weights, over=over, hinge=hinge, symmetric=symmetric)
        for name, losses in by_plane.items():
            plane_weights = self.get_buffer(f"{name}_plane_weights")
            terms[name] = (losses * plane_weights).sum() / plane_weights.sum()
        return terms

    def _sum(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self.settings, name) * term for name, term in terms.items()]).sum()

    def _supervise(self, sides: Sequence[Tensor], planes: Tensor, weights: Tensor) -> Tensor:
        """Average the loss over the side outputs of deep supervision."""
        if self.settings.deep_supervision_images == "non_empty":
            is_empty = find_empty(planes[:, self._objects], weights)
            weights = weights * ~is_empty[:, None, None]
        size = planes.shape[-2:]
        enlarged = (F.interpolate(side.float(), size, mode="bilinear", align_corners=False) for side in sides)
        return torch.stack([self._sum(self._compare(logits, planes, weights)) for logits in enlarged]).mean()
