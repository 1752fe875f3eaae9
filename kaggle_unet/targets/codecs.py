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
        """Turn labels into planes.

        Parameters
        ----------
        labels : int32 array, shape (H, W)
            Instances 1…n, 0 is background.
        border : BorderSettings
            Which pixels are border.

        Returns
        -------
        float32 array, shape (n_planes, H, W)
            0 and 1.
        """
        ...

    def decode(self, planes: Planes, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels.

        Parameters
        ----------
        planes : float32 array, shape (n_planes, H, W)
            Probabilities, or the targets themselves.
        settings : DecodeSettings
            Thresholds and rules.
        min_area_px : int, default: 0
            Instances with fewer pixels are left out.

        Returns
        -------
        int32 array, shape (H, W)
            Instances 1…n.
        """
        ...

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Tell which pixels are in some instance, before any is dropped.

        Parameters
        ----------
        planes : float32 array, shape (n_planes, H, W)
            Probabilities, or the targets themselves.
        settings : DecodeSettings
            Thresholds and rules.

        Returns
        -------
        bool array, shape (H, W)
            `decode` labels nothing else, and what it does in one component of this mask, connected through sides and
            corners, does not depend on what lies outside (with `single_object`, nothing but this mask counts).
        """
        ...

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Index every pixel's class.

        Parameters
        ----------
        planes : float32 array, shape (n_planes, H, W)
            Targets as `encode` makes them.

        Returns
        -------
        uint8 array, shape (H, W)
            Index into `classes`.
        """
        ...


CODECS: dict[CodecName, Codec] = {
    codec.name: codec
    for codec in (MaskCodec(), MaskBorderCodec(), InteriorBorderCodec(), InteriorBorderBackgroundCodec())
}
