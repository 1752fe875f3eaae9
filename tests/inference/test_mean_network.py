"""Several networks as one give the planes of their average."""

import numpy as np
import pytest
import torch
from torch import nn

from kaggle_unet.inference.predict import MeanNetwork, predict_planes
from kaggle_unet.inference.settings import InferenceSettings


class Lossy(nn.Module):
    """Random logits of three planes; loses `margin` pixels at each edge."""

    def __init__(self, margin):
        super().__init__()
        self.margin = margin
        self.conv = nn.Conv2d(1, 3, 2 * margin + 1)

    def forward(self, inputs):
        return 4 * self.conv(inputs)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("weights", [None, (3.0, 0.0, 1.0)])
def test_its_planes_are_those_of_the_networks_averaged(activation, mean, weights):
    torch.manual_seed(0)
    models = [Lossy(1), Lossy(0), Lossy(2)]
    settings = InferenceSettings(mean=mean, weights=weights, flips="d4")
    one = MeanNetwork(models, settings, activation)
    items = [("a", np.random.default_rng(0).normal(size=(1, 9, 12)).astype(np.float32))]
    (_, wanted), (_, found) = (
        next(predict_planes(networks, items, settings=how, activation=activation, device="cpu"))
        for networks, how in ((models, settings), ([one], settings.model_copy(update={"weights": None})))
    )
    assert one.margin == 2
    np.testing.assert_allclose(found, wanted, atol=3e-6)
