"""Codecs: labels to planes that a network can learn (`encode`) and planes back into labels (`decode`).

A new target scheme is one file with both and a line in `CODECS`; tests/targets/test_codecs.py then holds it to the
contract.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.targets.interior_border import InteriorBorderCodec
from kaggle_unet.targets.interior_border_background import InteriorBorderBackgroundCodec
from kaggle_unet.targets.mask import MaskCodec
from kaggle_unet.targets.mask_border import MaskBorderCodec
from kaggle_unet.targets.settings import BorderSettings, CodecName, DecodeSettings
from kaggle_unet.types import Labels, Mask, Planes


class Codec(Protocol):
    """The two ends of a network."""

    @property
    def name(self) -> CodecName:
        """Its key in `CODECS`."""
        ...

    @property
    def planes(self) -> tuple[str, ...]:
        """What each plane shows, in order."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that every pixel belongs to exactly one of; what class weights are named by."""
        ...

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """What turns a network's logits into planes."""
        ...

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes."""
        ...

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels."""
        ...

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance, before any is dropped."""
        ...

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class."""
        ...


CODECS: dict[CodecName, Codec] = {
    codec.name: codec
    for codec in (MaskCodec(), MaskBorderCodec(), InteriorBorderCodec(), InteriorBorderBackgroundCodec())
}
