"""Networks of different codecs answer in the same planes, and are shown the same image in different channels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from kaggle_unet.data.inputs import channel_weights, prepare
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import ConfigError
from kaggle_unet.inference.predict import ChannelAdapter, CodecAdapter, predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings
from tests import strategies

WITH_BORDER = ["mask_border", "interior_border", "interior_border_background"]


class Perfect(nn.Module):
    """Is sure of a codec's planes of some labels, whatever it is shown."""

    def __init__(self, codec, labels):
        super().__init__()
        planes = CODECS[codec].encode(labels, BorderSettings())
        self.logits = torch.from_numpy(np.where(planes > 0, 20, -20).astype(np.float32))[None]

    def forward(self, inputs):
        return self.logits


def predict(models, labels, activation):
    inputs = np.zeros((1, *labels.shape), np.float32)
    ((_, planes),) = predict_planes(
        models, [("a", inputs)], settings=InferenceSettings(), activation=activation, device="cpu"
    )
    return planes


@pytest.mark.parametrize("learnt", WITH_BORDER)
@pytest.mark.parametrize("wanted", [*WITH_BORDER, "mask"])
@given(labels=strategies.labels(max_side=12))
@settings(max_examples=15, deadline=None)
def test_the_planes_of_a_perfect_network_are_perfect_in_another_codec(learnt, wanted, labels):
    codec = CODECS[wanted]
    planes = predict([CodecAdapter(Perfect(learnt, labels), learnt, wanted)], labels, codec.activation)
    expected = codec.encode(labels, BorderSettings())
    if wanted == "mask_border" and learnt != wanted:
        expected[1] *= expected[0]  # beside an interior there is no border on background, and none can be made up
    np.testing.assert_allclose(planes, expected, atol=1e-4)


def test_probabilities_add_up_or_are_left_over():
    class Unsure(nn.Module):
        margin = 3

        def forward(self, inputs):
            return torch.tensor([0.75, 0.2]).logit().view(1, 2, 1, 1).expand(1, 2, 2, 2)

    inputs = torch.zeros(1, 1, 8, 8)
    interior = CodecAdapter(Unsure(), "mask_border", "interior_border")
    assert interior.margin == 3
    assert interior(inputs).sigmoid()[0, :, 0, 0].tolist() == pytest.approx([0.55, 0.2])
    mask = CodecAdapter(Unsure(), "interior_border", "mask_border")
    assert mask(inputs).sigmoid()[0, :, 0, 0].tolist() == pytest.approx([0.95, 0.2])
    classes = CodecAdapter(Unsure(), "mask_border", "interior_border_background")
    assert classes(inputs).softmax(1)[0, :, 0, 0].tolist() == pytest.approx([0.55, 0.2, 0.25])


@pytest.mark.parametrize("wanted", WITH_BORDER)
def test_no_border_is_made_of_a_mask(wanted):
    with pytest.raises(ConfigError, match=f"planes of codec mask have no border, which {wanted} needs"):
        CodecAdapter(nn.Identity(), "mask", wanted)


@pytest.mark.parametrize("wanted", [("gray",), ("blue", "gray", "red")])
@given(image=arrays(np.uint8, (5, 4, 3)), mean=st.sampled_from([0.0, 0.4]))
@settings(max_examples=25, deadline=None)
def test_a_network_sees_the_same_in_colours_as_in_channels_of_its_own(wanted, image, mean):
    shown = InputSettings(channels=("red", "green", "blue"), invert_bright=True, mean=mean, std=0.2)
    weights = channel_weights(wanted, shown.channels)
    adapted = ChannelAdapter(nn.Identity(), weights)(torch.from_numpy(prepare(image, shown))[None])

    expected = prepare(image, shown.model_copy(update={"channels": wanted}))

    np.testing.assert_allclose(adapted[0].numpy(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("wanted", "shown"), [(["gray"], ["red", "blue"]), (["red", "ramp"], ["red"]), (["red"], ["gray"])]
)
def test_channels_that_are_not_shown_can_not_be_made(wanted, shown):
    assert channel_weights(wanted, shown) is None
