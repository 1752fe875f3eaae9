"""From planes to the labels that are submitted, in one call."""

from kaggle_unet.postprocess.clean import clean
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Planes


def labels_from_planes(
    codec: Codec, planes: Planes, decode: DecodeSettings, postprocess: PostprocessSettings
) -> Labels:
    """Decode planes and clean the labels."""
    if postprocess.fill_holes_px == 0:  # areas are known as soon as decoding ends
        return codec.decode(planes, decode, min_area_px=postprocess.min_area_px)
    return clean(codec.decode(planes, decode), postprocess, in_place=True)
