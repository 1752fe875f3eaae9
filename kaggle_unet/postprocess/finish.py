"""From planes to the labels that are submitted, in one call."""

from kaggle_unet.postprocess.clean import clean
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Planes


def labels_from_planes(
    codec: Codec, planes: Planes, decode: DecodeSettings, postprocess: PostprocessSettings
) -> Labels:
    """Decode planes and clean the labels.

    Parameters
    ----------
    codec : Codec
        What the planes mean.
    planes : float32 array, shape (n_planes, H, W)
        Probabilities.
    decode : DecodeSettings
        How they become labels.
    postprocess : PostprocessSettings
        How those are cleaned.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n.
    """
    if postprocess.fill_holes_px == 0:  # areas are known as soon as decoding ends
        return codec.decode(planes, decode, min_area_px=postprocess.min_area_px)
    return clean(codec.decode(planes, decode), postprocess, in_place=True)
