"""Averaging planes on disk, held against networks that predict together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.selection.ensemble import average_probabilities


class Tilt(nn.Module):
    """Logits of an image, each plane by factors of its own."""

    def __init__(self, factors):
        super().__init__()
        self.factors = torch.tensor(factors)

    def forward(self, inputs):
        return inputs * self.factors[:, None, None]


IMAGE = np.random.default_rng(0).normal(0, 1, (1, 8, 8)).astype(np.float32)
FACTORS = ([1.0, -0.5, 0.25], [-0.3, 0.8, 0.1], [2.0, 0.0, -1.0])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0.4, 2), (1, 0, 0.5)])
def test_what_is_averaged_apart_is_what_networks_predict_together(mean, activation, weights):
    def predict(models, weights):
        settings = InferenceSettings(mean=mean, weights=weights, pad_to_multiple=8)
        ((_, planes),) = predict_planes(models, [("a", IMAGE)], settings=settings, activation=activation, device="cpu")
        return planes

    models = [Tilt(factors) for factors in FACTORS]
    members = [predict([model], None) for model in models]
    mixed = average_probabilities(members, weights, mean=mean, activation=activation)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, predict(models, weights), atol=2e-6)


@given(
    st.lists(st.floats(0, 1, width=16), min_size=2, max_size=4),
    st.sampled_from(["arithmetic", "geometric"]),
    st.sampled_from(["sigmoid", "softmax"]),
    st.data(),
)
def test_a_mean_lies_between_its_members_and_those_that_count_nothing_change_nothing(values, mean, activation, data):
    members = [np.array([[[value]], [[1 - value]]], np.float16) for value in values]
    weights = data.draw(
        st.lists(st.floats(0, 2), min_size=len(values), max_size=len(values)).filter(lambda w: max(w) > 0.01)
    )
    mixed = average_probabilities(members, weights, mean=mean, activation=activation)
    counted = [(planes, weight) for planes, weight in zip(members, weights, strict=True) if weight > 0]
    low, high = (choose(float(planes[0, 0, 0]) for planes, _ in counted) for choose in (min, max))
    assert low - 1e-3 <= mixed[0, 0, 0] <= high + 1e-3
    assert np.isfinite(mixed).all()
    again = average_probabilities(*map(list, zip(*counted, strict=True)), mean=mean, activation=activation)
    np.testing.assert_array_equal(mixed, again)
