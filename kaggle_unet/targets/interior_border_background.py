"""The codec `interior_border_background`: three classes, one softmax over them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.targets.border import split_interior
from kaggle_unet.targets.settings import BorderSettings, CodecName, DecodeSettings
from kaggle_unet.targets.watershed import decode_instances, find_mask
from kaggle_unet.types import Labels, Mask, Planes


@dataclass(frozen=True)
class InteriorBorderBackgroundCodec:
    """Three planes that sum to 1 at every pixel."""

    name: CodecName = "interior_border_background"
    planes: tuple[str, ...] = ("interior", "border", "background")
    classes: tuple[str, ...] = ("interior", "border", "background")
    activation: Literal["sigmoid", "softmax"] = "softmax"

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes; see `kaggle_unet.targets.codecs.Codec`."""
        return np.stack([*split_interior(labels, border), labels == 0]).astype(np.float32)

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels; see `kaggle_unet.targets.codecs.Codec`."""
        interior, border, _ = planes
        return decode_instances(inside=None, core=interior, border=border, settings=settings, min_area_px=min_area_px)

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance; see `kaggle_unet.targets.codecs.Codec`."""
        interior, border, _ = planes
        return find_mask(inside=None, core=interior, border=border, settings=settings)

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class; see `kaggle_unet.targets.codecs.Codec`."""
        _, border, background = (planes > 0.5).view(np.uint8)
        return np.asarray(border + 2 * background, dtype=np.uint8)
