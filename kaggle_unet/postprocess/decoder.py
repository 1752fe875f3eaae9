"""The decoder: from an image's planes of probabilities, of any size, to its cleaned labels."""

from dataclasses import dataclass

import numpy as np

from kaggle_unet.io.data_issues import is_constant
from kaggle_unet.postprocess.clean import drop_small, fill_holes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.postprocess.striped import decode_large
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import HalfPlanes, Image, Labels, Planes


@dataclass(frozen=True)
class Decoder:
    """Decoder of planes into labels: decoding, then cleaning, then the rules for whole images.

    Attributes
    ----------
    codec : Codec
        What the planes mean, as `get_codec` returns it.
    decode : DecodeSettings
        Thresholds and rules of decoding.
    postprocess : PostprocessSettings
        Cleaning of the decoded labels.
    stripe_above_px : int
        Larger images are decoded a stripe of rows at a time, with the same result in less memory.

    Examples
    --------
    >>> from kaggle_unet.targets.codecs import CODECS
    >>> decoder = Decoder(CODECS["mask"], postprocess=PostprocessSettings(min_area_px=2))
    >>> decoder(np.array([[[0.9, 0.1, 0.8, 0.7]]], dtype=np.float32))
    array([[0, 0, 1, 1]], dtype=int32)
    """

    codec: Codec
    decode: DecodeSettings = DecodeSettings()
    postprocess: PostprocessSettings = PostprocessSettings()
    stripe_above_px: int = 1 << 24

    def __call__(self, planes: Planes | HalfPlanes, image: Image | None = None) -> Labels:
        """Return the labels of an image.

        Parameters
        ----------
        planes : float32 or float16 array, shape (n_planes, H, W)
            Probabilities.
        image : uint8, uint16 or float32 array, shape (H, W) or (H, W, C), optional
            The image that the planes were predicted from. Without it, the rules for whole images
            (`postprocess.constant_is_empty` and `postprocess.full_is_empty`) are left out.

        Returns
        -------
        int32 array, shape (H, W)
            Instances 1…n, in raster order of their first pixels; 0 is background. Classes for the codec `classes`.
        """
        cleaning, planes = self.postprocess, self.codec.check_planes(planes)
        if self.codec.is_semantic:
            return self.codec.decode(planes, self.decode)
        if planes[0].size > self.stripe_above_px and not self.decode.single_object:
            labels = decode_large(self.codec, planes, self.decode, cleaning)
        elif cleaning.fill_holes_px:
            labels = fill_holes(self.codec.decode(planes, self.decode), cleaning.fill_holes_px, in_place=True)
            labels = drop_small(labels, cleaning.min_area_px, in_place=True)
        else:  # without holes to fill, areas are known as soon as decoding ends
            labels = self.codec.decode(planes, self.decode, min_area_px=cleaning.min_area_px)
        return labels if image is None else self.apply_rules(labels, image)

    def apply_rules(self, labels: Labels, image: Image) -> Labels:
        """Return zeros where a rule for whole images says that the image is empty, else the labels themselves."""
        # Of TGS's 4,000 training tiles 80 are black, all without salt, and none is full: inside salt, labels are empty.
        is_full = self.postprocess.full_is_empty and bool(labels.all())
        is_empty = is_full or (self.postprocess.constant_is_empty and is_constant(image))
        return np.zeros_like(labels) if is_empty else labels
