"""Networks of one codec that predict the planes of another, so that they can be averaged."""

import torch
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecName

_LEAST = 1e-6  # a probability whose logit is finite


class CodecAdapter(nn.Module):
    """A network whose planes are converted to those of another codec.

    The mask is min(1, interior + border). The border of `mask_border` also lies on background between two objects: its
    part inside is min(mask, border), and the interior is the rest of the mask. The background is 1 − mask.
    """

    def __init__(self, model: nn.Module, trained: CodecName, wanted: CodecName) -> None:
        super().__init__()
        if not can_adapt(trained, wanted):
            msg = f"planes of codec {trained} have no border, which {wanted} needs"
            raise ConfigError(msg)
        self.model = model
        self.margin = int(getattr(model, "margin", 0))
        self._trained, self._wanted = CODECS[trained], CODECS[wanted]

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits of the wanted planes."""
        logits = self.model(inputs).float()
        trained = logits.softmax(dim=1) if self._trained.activation == "softmax" else logits.sigmoid()
        found = dict(zip(self._trained.planes, trained.unbind(dim=1), strict=True))
        mask = found["mask"] if "mask" in found else (found["interior"] + found["border"]).clamp(max=1)
        planes = {"mask": mask, "background": 1 - mask}
        if "border" in found:
            inner = torch.minimum(mask, found["border"])
            planes |= {"interior": mask - inner, "border": found["border"] if "mask" in self._wanted.planes else inner}
        wanted = torch.stack([planes[name] for name in self._wanted.planes], dim=1)
        return wanted.clamp(min=_LEAST).log() if self._wanted.activation == "softmax" else wanted.logit(eps=_LEAST)


def can_adapt(trained: CodecName, wanted: CodecName) -> bool:
    """Return True if the wanted codec's planes can be computed from the trained one's."""
    return "border" not in CODECS[wanted].planes or "border" in CODECS[trained].planes
