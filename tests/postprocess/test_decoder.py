import tracemalloc

import numpy as np
import pytest

from kaggle_unet.postprocess.clean import drop_small, fill_holes
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings
from tests.postprocess.test_striped import draw_planes

SEEN = np.array([[0, 9], [9, 9]], np.uint8)
SALT = np.array([[0, 1], [1, 1]], np.int32)


def test_planes_are_decoded_and_then_cleaned():
    planes = np.array([[[0.9, 0.1, 0.4, 0.4]]], dtype=np.float32)

    decoder = Decoder(CODECS["mask"], DecodeSettings(mask_threshold=0.3), PostprocessSettings(min_area_px=2))

    assert decoder(planes).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("fill_holes_px", [0, 3])
@pytest.mark.parametrize("min_area_px", [0, 1, 5])
@pytest.mark.parametrize("name", CODECS)
def test_it_is_decoding_and_then_cleaning_whatever_is_done_at_once(name, min_area_px, fill_holes_px):
    planes = np.random.default_rng(7).random((len(CODECS[name].planes), 20, 30), dtype=np.float32)
    postprocess = PostprocessSettings(fill_holes_px=fill_holes_px, min_area_px=min_area_px)

    labels = Decoder(CODECS[name], postprocess=postprocess)(planes)

    decoded = CODECS[name].decode(planes, DecodeSettings())
    assert (labels == drop_small(fill_holes(decoded, fill_holes_px), min_area_px)).all()


def test_holes_are_filled_before_areas_are_counted():
    ring = np.ones((1, 5, 6), np.float32)
    ring[0, 0], ring[0, -1], ring[0, :, 0], ring[0, :, -1], ring[0, 2, 2:4] = 0, 0, 0, 0, 0
    filled = Decoder(CODECS["mask"], postprocess=PostprocessSettings(fill_holes_px=2, min_area_px=12))
    open_ = Decoder(CODECS["mask"], postprocess=PostprocessSettings(min_area_px=12))

    assert (filled(ring)[1:4, 1:5] == 1).all()
    assert not open_(ring).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("single_object", [False, True])
def test_the_size_decides_how_but_not_what_is_decoded(dtype, single_object):
    planes = draw_planes(CODECS["mask"], np.random.default_rng(0), (40, 30)).astype(dtype)
    settings = DecodeSettings(single_object=single_object), PostprocessSettings(fill_holes_px=3)

    striped, whole = (Decoder(CODECS["mask"], *settings, stripe_above_px=px) for px in (1199, 1200))

    assert (striped(planes) == whole(planes)).all()
    assert whole(planes).any()


def test_a_large_image_takes_less_memory_than_its_planes_in_single_precision():
    planes = np.zeros((3, 8192, 100), np.float16)
    planes[0, ::50, 10:60] = 1
    tracemalloc.start()
    labels = Decoder(CODECS["interior_border_background"], stripe_above_px=0)(planes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert labels.max() == 164
    assert peak - labels.nbytes < planes.size * 4 / 2


@pytest.mark.parametrize(
    ("labels", "image", "rules", "is_emptied"),
    [
        (SALT, SEEN, {"constant_is_empty": True, "full_is_empty": True}, False),
        (SALT, SEEN * 0, {"constant_is_empty": True}, True),
        (SALT, np.full((2, 2, 3), 7, np.uint8), {"constant_is_empty": True}, True),
        (SALT, SEEN * 0, {"full_is_empty": True}, False),
        (SALT * 0 + 1, SEEN, {"full_is_empty": True}, True),
        (SALT * 0 + 1, SEEN, {}, False),
    ],
)
def test_each_rule_empties_the_images_it_names(labels, image, rules, is_emptied):
    decoder = Decoder(CODECS["mask"], postprocess=PostprocessSettings(**rules))
    planes = labels[None].astype(np.float32)

    assert (decoder(planes, image) == (0 if is_emptied else labels)).all()
    assert (decoder(planes) == labels).all()


def test_an_image_full_of_several_instances_is_full_too():
    labels = np.array([[1, 2], [2, 2]], np.int32)
    decoder = Decoder(CODECS["mask"], postprocess=PostprocessSettings(full_is_empty=True))

    assert not decoder.apply_rules(labels, SEEN).any()
    assert labels.all()
