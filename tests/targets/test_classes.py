"""The codec `classes`: labels are classes of pixels, 255 where none is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.targets.codecs import decode_planes, encode_targets, get_codec
from kaggle_unet.targets.settings import BorderSettings, CodecSettings, DecodeSettings, WeightSettings
from kaggle_unet.targets.weights import encode_with_weights
from tests import strategies

NAMES = ("soil", "water", "ice")
CODEC = get_codec("classes", NAMES)


@st.composite
def class_images(draw):
    return draw(hnp.arrays(np.int32, draw(strategies.shapes()), elements=st.sampled_from([0, 1, 2, 255])))


@given(class_images())
def test_what_is_decoded_is_what_was_encoded_wherever_a_class_is_known(labels):
    planes = CODEC.encode(labels, BorderSettings())
    known = labels != 255
    assert planes.shape == (3, *labels.shape)
    assert planes.dtype == np.float32
    assert (planes.sum(axis=0) == known).all()
    for decoded in (
        CODEC.decode(planes, DecodeSettings()),
        decode_planes(encode_targets(labels, CODEC), CODEC),
        Decoder(CODEC)(planes.astype(np.float16)),
        Decoder(CODEC, stripe_above_px=0)(planes, np.zeros(labels.shape, np.uint8)),
        CODEC.classify(planes),
    ):
        assert (decoded[known] == labels[known]).all()
        assert decoded.shape == labels.shape
    assert Decoder(CODEC)(planes).dtype == np.int32


def test_a_pixel_is_of_its_most_probable_class_the_first_of_equals():
    planes = np.array([[[0.2, 0.4]], [[0.5, 0.4]], [[0.3, 0.2]]], dtype=np.float32)
    assert CODEC.decode(planes, DecodeSettings()).tolist() == [[1, 0]]


@given(class_images())
def test_weights_are_those_of_classes_and_0_where_none_is_known(labels):
    settings = CodecSettings(name="classes", classes=NAMES)
    _, weights = encode_with_weights(labels, settings, WeightSettings(classes={"water": 3, "ice": 0.5}))
    assert weights.tolist() == [[{0: 1, 1: 3, 2: 0.5, 255: 0}[label] for label in row] for row in labels.tolist()]
    _, masked = encode_with_weights(labels, settings, WeightSettings(), labels == 1)
    assert ((masked > 0) == np.isin(labels, [0, 2])).all()


def test_ids_of_no_class_are_refused_by_name():
    with pytest.raises(DataError, match="labels hold 3, 9; expected the classes 0 soil, 1 water, 2 ice"):
        CODEC.encode(np.array([[0, 3, 9, 255]]), BorderSettings())


@pytest.mark.parametrize("names", [(), ("soil",), ("soil", "soil"), tuple(map(str, range(255)))])
def test_classes_must_be_several_and_differ(names):
    with pytest.raises(ConfigError, match="needs the names of 2 to 254 different classes"):
        get_codec("classes", names)
