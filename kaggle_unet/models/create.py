"""The network a config describes."""

import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import read_tensors
from kaggle_unet.models.encoder_weights import explain_hub_failure, fill_encoder, is_weight_file
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import ModelSettings, PlainUNetSettings, SmpSettings

# What `create_model` gives itself, or what would make the network return something else than logits.
_TAKEN_OPTIONS = ("arch", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


def create_model(
    settings: ModelSettings, *, in_channels: int, out_channels: int, load_encoder: bool = True
) -> nn.Module:
    """Make the network a config describes.

    Parameters
    ----------
    settings : PlainUNetSettings or SmpSettings
        Which network.
    in_channels : int
        Channels of the inputs.
    out_channels : int
        Planes of the codec.
    load_encoder : bool
        Whether `encoder_weights` are loaded. False where a checkpoint fills the network anyway: neither the hub nor a
        file is then touched.

    Returns
    -------
    model : nn.Module
        Gives logits (B, out_channels, H, W), on the CPU, with random weights drawn from torch's generator.

    Raises
    ------
    ConfigError
        If the settings name what does not exist, if weights do not fit, or if the hub can't be reached; the message
        then says which file to bring from where.
    DataError
        If the file of weights is missing or damaged.
    """
    if isinstance(settings, PlainUNetSettings):
        return PlainUNet(in_channels, out_channels, settings)
    _check_names(settings)
    weights = settings.encoder_weights if load_encoder else None
    if weights is None:
        return _build_smp(settings, in_channels, out_channels, None)
    if not is_weight_file(weights):
        return _build_from_hub(settings, in_channels, out_channels, weights)
    tensors = read_tensors(Path(weights))
    model = _build_smp(settings, in_channels, out_channels, None)
    encoder = model.encoder
    assert isinstance(encoder, nn.Module)
    fill_encoder(encoder, tensors, where=weights)
    return model


def input_multiple(settings: ModelSettings) -> int:
    """Give what the sides of inputs must be multiples of.

    Parameters
    ----------
    settings : PlainUNetSettings or SmpSettings
        Which network.

    Returns
    -------
    multiple : int
        A power of 2.

    Examples
    --------
    >>> input_multiple(PlainUNetSettings(depth=4)), input_multiple(SmpSettings())
    (16, 32)
    """
    depth = settings.depth if isinstance(settings, PlainUNetSettings) else settings.options.get("encoder_depth", 5)
    return int(2**depth)


def output_margin(settings: ModelSettings) -> int:
    """Give how many pixels the output is smaller than the input at each edge.

    Parameters
    ----------
    settings : PlainUNetSettings or SmpSettings
        Which network.

    Returns
    -------
    margin_px : int
        0 unless the convolutions are unpadded.

    Examples
    --------
    >>> output_margin(PlainUNetSettings(padding="valid", filters=64, depth=4))
    94
    """
    if not isinstance(settings, PlainUNetSettings):
        return 0
    with torch.device("meta"):  # sizes without memory
        return PlainUNet(1, 1, settings).margin


def _build_from_hub(settings: SmpSettings, in_channels: int, out_channels: int, weights: str) -> nn.Module:
    """Build with weights from the hub; smp takes their name, timm only whether they are wanted."""
    import segmentation_models_pytorch as smp

    is_timm = settings.encoder.startswith("tu-")
    if not is_timm:
        served = smp.encoders.encoders[settings.encoder]["pretrained_settings"]
        _refuse_unknown("model.encoder_weights", weights, list(served))
    try:
        return _build_smp(settings, in_channels, out_channels, True if is_timm else weights)
    except (OSError, RuntimeError) as error:  # huggingface_hub's errors are OSErrors; timm's "no weights" is the other
        raise ConfigError(explain_hub_failure(settings.encoder, weights, error)) from error


def _build_smp(settings: SmpSettings, in_channels: int, out_channels: int, weights: str | bool | None) -> nn.Module:
    import segmentation_models_pytorch as smp

    try:
        model: nn.Module = smp.create_model(
            settings.architecture,
            settings.encoder,
            weights,
            in_channels=in_channels,
            classes=out_channels,
            **settings.options,
        )
    except (TypeError, ValueError, KeyError) as error:
        msg = f"smp can't make a {settings.architecture} on {settings.encoder} with model.options {settings.options}: "
        raise ConfigError(f"{msg}{error}; see the arguments of smp.create_model") from error
    return model


def _check_names(settings: SmpSettings) -> None:
    """Refuse architectures, encoders and options that do not exist, before anything is built."""
    import segmentation_models_pytorch as smp
    import timm

    _refuse_unknown("model.architecture", settings.architecture.lower(), list(smp.MODEL_ARCHITECTURES_MAPPING))
    if settings.encoder.startswith("tu-"):
        if not timm.is_model(settings.encoder.removeprefix("tu-")):
            _refuse_unknown("model.encoder", settings.encoder, [f"tu-{name}" for name in timm.list_models()])
    else:
        _refuse_unknown("model.encoder", settings.encoder, smp.encoders.get_encoder_names())
    _check_options(settings)


def _check_options(settings: SmpSettings) -> None:
    """Refuse options that smp would swallow in silence, or that are not the config's to give."""
    import segmentation_models_pytorch as smp

    if taken := sorted(set(settings.options) & set(_TAKEN_OPTIONS)):
        msg = (
            f"model.options can't hold {', '.join(taken)}: kaggle-unet sets them, or needs plain logits; leave them out"
        )
        raise ConfigError(msg)
    if settings.encoder.startswith("tu-"):
        return  # what smp does not know goes on to timm, which refuses what it does not know either
    architecture = smp.MODEL_ARCHITECTURES_MAPPING[settings.architecture.lower()]
    known = [name for name in inspect.signature(architecture).parameters if name not in (*_TAKEN_OPTIONS, "kwargs")]
    for name in settings.options:
        _refuse_unknown("model.options", name, known)


def _refuse_unknown(key: str, name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known)[:20])}"
    msg = f"{key} {name!r} is unknown; {hint}"
    raise ConfigError(msg)
