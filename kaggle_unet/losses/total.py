"""The loss of a config: weighted cross-entropy plus soft Dice."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.cross_entropy import Activation, pixel_cross_entropy, weighted_mean
from kaggle_unet.losses.dice import soft_dice
from kaggle_unet.losses.settings import LossSettings


class SegmentationLoss(nn.Module):
    """Weighted cross-entropy plus soft Dice, in float32 whatever the logits are.

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
        If a plane in `settings.dice_planes` does not exist, or if the settings leave nothing to minimise.

    Notes
    -----
    The loss is cross_entropy · weighted cross-entropy + dice · (1 − soft Dice). Weights multiply the cross-entropy
    only; Dice looks at nothing but whether a pixel counts. A pixel of weight 0 counts in neither, so ignoring pixels is
    the same as cutting them off. The Dice term is the mean over planes, weighted by `settings.dice_planes`; for
    `softmax` the plane `background` is left out unless it is named there, as its share of the picture would hide the
    others.

    Logits smaller than the targets (a U-Net without padding) are compared with the middle of the targets. The loss is
    finite for finite logits up to 1e30, far beyond what float16 holds.
    """

    shares: Tensor

    def __init__(self, settings: LossSettings, plane_names: Sequence[str], activation: Activation) -> None:
        super().__init__()
        self.settings = settings
        self.activation: Activation = activation
        shares = torch.tensor([_dice_share(name, settings, activation) for name in plane_names])
        _check(settings, plane_names, shares)
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, logits: Tensor, planes: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare logits with targets.

        Parameters
        ----------
        logits : tensor, shape (B, C, H, W)
            In float32, bfloat16 or float16.
        planes : float32 tensor, shape (B, C, H', W')
            Targets; H' ≥ H and W' ≥ W.
        weights : float32 tensor, shape (B, H', W')
            Not negative; 0 where a pixel does not count.

        Returns
        -------
        loss : float32 tensor, shape ()
            What to minimise; 0 where no pixel counts.
        parts : dict of str to float32 tensor
            `cross_entropy` and `dice` before their coefficients, detached; a part with coefficient 0 is absent.
        """
        logits = logits.float()
        batch, n_planes, height, width = logits.shape
        planes, weights = _middle(planes.float(), height, width), _middle(weights.float(), height, width)
        assert planes.shape == (batch, n_planes, height, width), (planes.shape, logits.shape)
        assert weights.shape == (batch, height, width), (weights.shape, logits.shape)
        parts: dict[str, Tensor] = {}
        if self.settings.cross_entropy:
            parts["cross_entropy"] = weighted_mean(pixel_cross_entropy(logits, planes, self.activation), weights)
        if self.settings.dice:
            parts["dice"] = self._dice_loss(logits, planes, weights)
        coefficients = {"cross_entropy": self.settings.cross_entropy, "dice": self.settings.dice}
        loss = torch.stack([coefficients[name] * part for name, part in parts.items()]).sum()
        return loss, {name: part.detach() for name, part in parts.items()}

    def _dice_loss(self, logits: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
        probs = logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=1)
        counted = (weights > 0).float()
        dice = soft_dice(probs, planes, counted, over=self.settings.dice_over, smooth=self.settings.smooth)
        return ((1 - dice) * self.shares).sum() / self.shares.sum()


def _dice_share(name: str, settings: LossSettings, activation: Activation) -> float:
    default = 0.0 if activation == "softmax" and name == "background" else 1.0
    return settings.dice_planes.get(name, default)


def _check(settings: LossSettings, plane_names: Sequence[str], shares: Tensor) -> None:
    if unknown := sorted(set(settings.dice_planes) - set(plane_names)):
        msg = f"loss.dice_planes names {', '.join(unknown)}; the codec's planes are {', '.join(plane_names)}"
        raise ConfigError(msg)
    if settings.dice and not shares.sum() > 0:
        msg = "loss.dice_planes leaves no plane for Dice; give one a share above 0, or set loss.dice to 0"
        raise ConfigError(msg)
    if not settings.cross_entropy and not settings.dice:
        msg = "loss.cross_entropy and loss.dice are both 0, which leaves nothing to minimise; set one above 0"
        raise ConfigError(msg)


def _middle(grid: Tensor, height: int, width: int) -> Tensor:
    """Cut the middle out of (..., H', W')."""
    top, left = (grid.shape[-2] - height) // 2, (grid.shape[-1] - width) // 2
    return grid[..., top : top + height, left : left + width]
