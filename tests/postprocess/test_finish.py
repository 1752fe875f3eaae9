import numpy as np
import pytest

from kaggle_unet.postprocess.clean import PostprocessSettings, clean, labels_from_planes
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings


def test_planes_are_decoded_and_then_cleaned():
    planes = np.array([[[0.9, 0.1, 0.4, 0.4]]], dtype=np.float32)

    labels = labels_from_planes(
        CODECS["mask"], planes, DecodeSettings(mask_threshold=0.3), PostprocessSettings(min_area_px=2)
    )

    assert labels.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("fill_holes_px", [0, 3])
@pytest.mark.parametrize("min_area_px", [0, 1, 5])
@pytest.mark.parametrize("name", CODECS)
def test_it_is_decoding_and_then_cleaning_whatever_is_done_at_once(name, min_area_px, fill_holes_px):
    planes = np.random.default_rng(7).random((len(CODECS[name].planes), 20, 30), dtype=np.float32)
    postprocess = PostprocessSettings(fill_holes_px=fill_holes_px, min_area_px=min_area_px)

    labels = labels_from_planes(CODECS[name], planes, DecodeSettings(), postprocess)

    assert (labels == clean(CODECS[name].decode(planes, DecodeSettings()), postprocess)).all()
