import numpy as np

from kaggle_unet.postprocess.finish import labels_from_planes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings


def test_planes_are_decoded_and_then_cleaned():
    planes = np.array([[[0.9, 0.1, 0.4, 0.4]]], dtype=np.float32)

    labels = labels_from_planes(
        CODECS["mask"], planes, DecodeSettings(mask_threshold=0.3), PostprocessSettings(min_area_px=2)
    )

    assert labels.tolist() == [[0, 0, 1, 1]]
