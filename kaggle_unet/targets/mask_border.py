"""The codec `mask_border`: whole instances, and their border on a plane of its own that may reach into background."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.targets.border import border as mark_border
from kaggle_unet.targets.border import spare_seeds
from kaggle_unet.targets.settings import BorderSettings, CodecName, DecodeSettings
from kaggle_unet.targets.watershed import decode_instances, find_mask
from kaggle_unet.types import Labels, Mask, Planes


@dataclass(frozen=True)
class MaskBorderCodec:
    """Two overlapping planes: inside any instance, and border. A pixel on both is of class `border`."""

    name: CodecName = "mask_border"
    planes: tuple[str, ...] = ("mask", "border")
    classes: tuple[str, ...] = ("mask", "border", "background")
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes; see `kaggle_unet.targets.codecs.Codec`."""
        marked = spare_seeds(labels, mark_border(labels, border))
        return np.stack([labels > 0, marked]).astype(np.float32)

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels; see `kaggle_unet.targets.codecs.Codec`."""
        mask, border = planes
        return decode_instances(inside=mask, core=mask, border=border, settings=settings, min_area_px=min_area_px)

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance; see `kaggle_unet.targets.codecs.Codec`."""
        mask, border = planes
        return find_mask(inside=mask, core=mask, border=border, settings=settings)

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class; see `kaggle_unet.targets.codecs.Codec`."""
        mask, border = (planes > 0.5).view(np.uint8)
        return np.asarray((2 - border) * (1 - mask * (1 - border)), dtype=np.uint8)
