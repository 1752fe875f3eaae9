"""From an image's planes to its labels with everything that a config says, rules for whole images included."""

import numpy as np

from kaggle_unet.io.data_issues import is_constant
from kaggle_unet.postprocess.clean import PostprocessSettings
from kaggle_unet.postprocess.striped import decode_any_size
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import HalfPlanes, Image, Labels, Planes


def find_labels(
    codec: Codec, planes: Planes | HalfPlanes, image: Image, decode: DecodeSettings, postprocess: PostprocessSettings
) -> Labels:
    """Decode planes of any size, clean the labels, and apply the rules for whole images."""
    return apply_rules(decode_any_size(codec, planes, decode, postprocess), image, postprocess)


def apply_rules(labels: Labels, image: Image, settings: PostprocessSettings) -> Labels:
    """Empty an image that a rule says is empty.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Decoded instances; not changed.
    image : uint8 array, shape (H, W) or (H, W, 3)
        What they were decoded from.
    settings : PostprocessSettings
        Its `constant_is_empty` and `full_is_empty`.

    Returns
    -------
    int32 array, shape (H, W)
        The same array, or zeros.

    Notes
    -----
    Of the 4,000 training tiles of TGS 80 are black, all of them without salt, and none is full: tiles that lie inside
    the salt are labelled empty.

    Examples
    --------
    >>> salt, black = np.ones((2, 2), np.int32), np.zeros((2, 2), np.uint8)
    >>> bool(apply_rules(salt, black, PostprocessSettings(constant_is_empty=True)).any())
    False
    """
    is_full = settings.full_is_empty and bool(labels.all())
    return np.zeros_like(labels) if is_full or (settings.constant_is_empty and is_constant(image)) else labels
