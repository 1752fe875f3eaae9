"""What networks are shown."""

import numpy as np
import torch

from kaggle_unet.config import parse_config
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.steps.networks import Ensemble, predict_samples
from kaggle_unet.types import Sample

CONFIG = parse_config(
    "competition: {name: tgs}", ["decode.single_object=true", "codec.name=mask", "augmentation.preset=salt"]
)


class Seen(torch.nn.Module):
    """Gives its input and keeps its size."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, inputs):
        self.sizes.append(tuple(inputs.shape[-2:]))
        return inputs


def test_images_are_padded_to_a_multiple_of_what_the_network_takes_and_of_what_the_config_wants():
    image = np.random.default_rng(0).integers(0, 256, (101, 90), dtype=np.uint8)
    sample = Sample("a", image, np.zeros_like(image, np.int32))
    found = {}
    for wanted in (1, 24, 128):
        network = Seen()
        settings = InferenceSettings(pad_to_multiple=wanted)
        ensemble = Ensemble([network], CONFIG, 16, [])
        ((_, planes),) = predict_samples(ensemble, {"a": image.shape}, lambda _: sample, settings)
        assert planes.shape == (1, 101, 90)
        found[wanted] = network.sizes
    assert found == {1: [(112, 96)], 24: [(144, 96)], 128: [(128, 128)]}
