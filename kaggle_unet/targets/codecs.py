"""Codecs: labels to planes that a network can learn (`encode`) and planes back into labels (`decode`).

A new target scheme is one file with both and a line in `CODECS`; tests/targets/test_codecs.py then holds it to the
contract.

The codec `mask`: one plane for everything; instances are its connected components.

The codec `mask_border`: whole instances, and their border on a plane of its own that may reach into background.

The codec `interior_border`: instances split into interior and border, two planes that never overlap.

The codec `interior_border_background`: three classes, one softmax over them.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.targets.border import border as mark_border
from kaggle_unet.targets.border import keep_one_seed_pixel, split_interior
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


@dataclass(frozen=True)
class MaskBorderCodec:
    """Two overlapping planes: inside any instance, and border. A pixel on both is of class `border`."""

    name: CodecName = "mask_border"
    planes: tuple[str, ...] = ("mask", "border")
    classes: tuple[str, ...] = ("mask", "border", "background")
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes; see `kaggle_unet.targets.codecs.Codec`."""
        marked = keep_one_seed_pixel(labels, mark_border(labels, border))
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


@dataclass(frozen=True)
class InteriorBorderCodec:
    """Two disjoint planes, one sigmoid each; their sum is the mask."""

    name: CodecName = "interior_border"
    planes: tuple[str, ...] = ("interior", "border")
    classes: tuple[str, ...] = ("interior", "border", "background")
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def encode(self, labels: Labels, border: BorderSettings) -> Planes:
        """Turn labels into planes; see `kaggle_unet.targets.codecs.Codec`."""
        return np.stack(split_interior(labels, border)).astype(np.float32)

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels; see `kaggle_unet.targets.codecs.Codec`."""
        interior, border = planes
        return decode_instances(inside=None, core=interior, border=border, settings=settings, min_area_px=min_area_px)

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance; see `kaggle_unet.targets.codecs.Codec`."""
        interior, border = planes
        return find_mask(inside=None, core=interior, border=border, settings=settings)

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class; see `kaggle_unet.targets.codecs.Codec`."""
        interior, border = (planes > 0.5).view(np.uint8)
        return np.asarray((2 - border) * (1 - interior * (1 - border)), dtype=np.uint8)


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
