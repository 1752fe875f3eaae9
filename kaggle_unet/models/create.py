"""Networks from settings."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import read_tensors
from kaggle_unet.models.encoder_networks import SmpNetwork, TernausNet, build_smp, check_smp, refuse_unknown
from kaggle_unet.models.encoder_weights import explain_hub_failure, fill_encoder, is_weight_file
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import ModelSettings, PlainUNetSettings, SmpSettings, TernausNetSettings

_Build = Callable[[str | bool | None], nn.Module]


def create_model(
    settings: ModelSettings, *, in_channels: int, out_channels: int, load_encoder: bool = True
) -> nn.Module:
    """Build the network that a config describes, with random weights or `encoder_weights` in its encoder.

    It returns logits (B, out_channels, H, W), or in training, if it has further heads, `Outputs`. With `load_encoder`
    False, as a checkpoint will replace all weights, neither the hub nor a file is accessed.
    """
    if isinstance(settings, PlainUNetSettings):
        return PlainUNet(in_channels, out_channels, settings)
    weights = settings.encoder_weights if load_encoder else None
    if isinstance(settings, TernausNetSettings):
        return _with_weights(
            lambda name: TernausNet(in_channels, out_channels, settings, weights=str(name) if name else None),
            settings.encoder,
            weights,
        )
    check_smp(settings)
    network = _with_weights(
        lambda name: build_smp(settings, in_channels, out_channels, name), settings.encoder, weights
    )
    if settings.hypercolumn or settings.deep_supervision or settings.empty_head:
        return SmpNetwork(network, settings, out_channels)
    return network


def input_multiple(settings: ModelSettings) -> int:
    """Return the number that the sides of inputs must be multiples of.

    >>> input_multiple(PlainUNetSettings(depth=4)), input_multiple(SmpSettings())
    (16, 32)
    """
    if isinstance(settings, SmpSettings):
        return int(2 ** settings.options.get("encoder_depth", 5))
    return settings.unshuffle * 2**settings.depth if isinstance(settings, PlainUNetSettings) else 32


def output_margin(settings: ModelSettings) -> int:
    """Return the number of pixels by which the output is smaller than the input at each edge.

    >>> output_margin(PlainUNetSettings(padding="valid", filters=64, depth=4))
    94
    """
    if not isinstance(settings, PlainUNetSettings) or settings.padding == "same":
        return 0
    with torch.device("meta"):  # sizes without memory
        return PlainUNet(1, 1, settings).margin


def _with_weights(build: _Build, encoder: str, weights: str | None) -> nn.Module:
    """Build a network, its encoder filled from a file, from the hub, or at random."""
    if weights is None:
        return build(None)
    if not is_weight_file(weights):
        return _build_from_hub(build, encoder, weights)
    tensors = read_tensors(Path(weights))
    network = build(None)
    assert isinstance(network.encoder, nn.Module)
    fill_encoder(network.encoder, tensors, where=weights)
    return network


def _build_from_hub(build: _Build, encoder: str, weights: str) -> nn.Module:
    """Build with weights from the hub; smp takes their name, timm only whether they are wanted."""
    import segmentation_models_pytorch as smp

    is_timm = encoder.startswith("tu-")
    if not is_timm:
        served = smp.encoders.encoders[encoder]["pretrained_settings"]
        refuse_unknown("model.encoder_weights", weights, list(served))
    try:
        return build(True if is_timm else weights)
    except (OSError, RuntimeError) as error:  # huggingface_hub's errors are OSErrors; timm's "no weights" is the other
        raise ConfigError(explain_hub_failure(encoder, weights, error)) from error
