"""The codec `mask`: one plane for everything; instances are its connected components."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.targets.settings import BorderSettings, CodecName, DecodeSettings
from kaggle_unet.targets.watershed import decode_instances, find_mask
from kaggle_unet.types import Labels, Mask, Planes


@dataclass(frozen=True)
class MaskCodec:
    """One plane: inside any instance. Instances that touch come back as one."""

    name: CodecName = "mask"
    planes: tuple[str, ...] = ("mask",)
    classes: tuple[str, ...] = ("mask", "background")
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes; see `kaggle_unet.targets.codecs.Codec`."""
        del border  # this codec has none
        return (labels > 0).astype(np.float32)[None]

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels; see `kaggle_unet.targets.codecs.Codec`."""
        (mask,) = planes
        return decode_instances(inside=mask, core=mask, border=None, settings=settings, min_area_px=min_area_px)

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance; see `kaggle_unet.targets.codecs.Codec`."""
        (mask,) = planes
        return find_mask(inside=mask, core=mask, border=None, settings=settings)

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class; see `kaggle_unet.targets.codecs.Codec`."""
        (mask,) = planes
        return np.asarray(mask <= 0.5, dtype=np.uint8)
