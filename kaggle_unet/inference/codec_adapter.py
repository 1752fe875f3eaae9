"""Networks that have learnt other planes than those wanted, as far as one tells the other."""

import torch
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecName

_LEAST = 1e-6  # a probability that a logit can be made of


class CodecAdapter(nn.Module):
    """A network's answer in the planes of another codec.

    A mask is min(1, interior + border); of a mask's border, which also lies on background between two objects, only
    min(mask, border) counts beside an interior, which is the rest of the mask; the background is what is no mask.
    """

    def __init__(self, model: nn.Module, learnt: CodecName, wanted: CodecName) -> None:
        super().__init__()
        if not can_adapt(learnt, wanted):
            msg = f"planes of codec {learnt} hold no border, which {wanted} needs"
            raise ConfigError(msg)
        self.model = model
        self.margin = int(getattr(model, "margin", 0))
        self._learnt, self._wanted = CODECS[learnt], CODECS[wanted]

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict the wanted planes."""
        logits = self.model(inputs).float()
        learnt = logits.softmax(dim=1) if self._learnt.activation == "softmax" else logits.sigmoid()
        found = dict(zip(self._learnt.planes, learnt.unbind(dim=1), strict=True))
        mask = found["mask"] if "mask" in found else (found["interior"] + found["border"]).clamp(max=1)
        planes = {"mask": mask, "background": 1 - mask}
        if "border" in found:
            inner = torch.minimum(mask, found["border"])
            planes |= {"interior": mask - inner, "border": found["border"] if "mask" in self._wanted.planes else inner}
        wanted = torch.stack([planes[name] for name in self._wanted.planes], dim=1)
        return wanted.clamp(min=_LEAST).log() if self._wanted.activation == "softmax" else wanted.logit(eps=_LEAST)


def can_adapt(learnt: CodecName, wanted: CodecName) -> bool:
    """Tell whether one codec's planes can be made of another's."""
    return "border" not in CODECS[wanted].planes or "border" in CODECS[learnt].planes
