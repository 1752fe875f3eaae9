import pytest
import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.create import fill_encoder, fold_channels


class Encoder(nn.Module):
    """An encoder as smp makes them from timm: a prefix, and stages whose dots are underscores."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.model = nn.Module()
        self.model.conv1 = nn.Conv2d(in_channels, 4, 3)
        self.model.stages_0 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))


def classifier_weights():
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "conv1.bias": (4,),
        "stages.0.0.weight": (4, 4, 3, 3),
        "stages.0.0.bias": (4,),
        "stages.0.1.weight": (4,),
        "stages.0.1.bias": (4,),
        "stages.0.1.running_mean": (4,),
        "stages.0.1.running_var": (4,),
        "stages.3.0.weight": (8, 4, 3, 3),  # a stage the encoder does not go down to
        "fc.weight": (10, 4),
        "fc.bias": (10,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_classifier_fills_the_encoder_that_was_made_of_it(prefix):
    encoder, weights = Encoder(), classifier_weights()
    fill_encoder(encoder, {prefix + name: tensor for name, tensor in weights.items()}, where="w.pth")
    assert torch.equal(encoder.model.conv1.weight, weights["conv1.weight"])
    assert torch.equal(encoder.model.stages_0[0].weight, weights["stages.0.0.weight"])
    assert torch.equal(encoder.model.stages_0[1].running_var, weights["stages.0.1.running_var"])


def test_a_missing_weight_is_named_as_the_encoder_names_it():
    weights = classifier_weights()
    del weights["stages.0.0.bias"]
    with pytest.raises(ConfigError, match=r"w\.pth do not fit.*\n.*missing: model\.stages_0\.0\.bias$"):
        fill_encoder(Encoder(), weights, where="w.pth")


def test_a_weight_of_another_shape_is_named_with_both():
    weights = {**classifier_weights(), "conv1.bias": torch.zeros(5)}
    with pytest.raises(ConfigError, match=r"of another shape: model\.conv1\.bias \(5,\) instead of \(4,\)"):
        fill_encoder(Encoder(), weights, where="w.pth")


def test_weights_of_a_deeper_network_are_unexpected():
    weights = {**classifier_weights(), "stages.0.2.weight": torch.zeros(4)}
    with pytest.raises(ConfigError, match=r"unexpected: stages\.0\.2\.weight"):
        fill_encoder(Encoder(), weights, where="w.pth")


def test_nothing_is_loaded_where_something_does_not_fit():
    encoder = Encoder()
    before = encoder.model.conv1.weight.clone()
    with pytest.raises(ConfigError):
        fill_encoder(encoder, {**classifier_weights(), "conv1.bias": torch.zeros(5)}, where="w.pth")
    assert torch.equal(encoder.model.conv1.weight, before)


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_folded_filters_answer_a_gray_image_as_the_rgb_filters_do(n_channels):
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    gray = torch.randn(1, 1, 9, 9, generator=torch.Generator().manual_seed(2))
    wanted = nn.functional.conv2d(gray.expand(1, 3, 9, 9), weight)
    folded = nn.functional.conv2d(gray.expand(1, n_channels, 9, 9), fold_channels(weight, n_channels))
    torch.testing.assert_close(folded, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("in_channels", [1, 2, 4])
def test_the_first_convolution_is_folded_to_the_channels_of_the_inputs(in_channels):
    encoder, weights = Encoder(in_channels), classifier_weights()
    fill_encoder(encoder, weights, where="w.pth")
    assert torch.equal(encoder.model.conv1.weight, fold_channels(weights["conv1.weight"], in_channels))
