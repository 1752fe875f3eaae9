"""Networks built from settings, their encoders with random weights or with weights from a file or a hub."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError, shorten_list
from kaggle_unet.models.checkpoint import read_tensors
from kaggle_unet.models.custom import build_custom
from kaggle_unet.models.encoder_networks import SmpNetwork, TernausNet, build_smp, check_smp, refuse_unknown
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import (
    CustomSettings,
    ModelSettings,
    PlainUNetSettings,
    SmpSettings,
    TernausNetSettings,
)

_Build = Callable[[str | bool | None], nn.Module]


def create_model(
    settings: ModelSettings, *, in_channels: int, out_channels: int, load_encoder: bool = True
) -> nn.Module:
    """Build the network that a config describes, with random weights or `encoder_weights` in its encoder.

    The network returns logits (B, out_channels, H, W), or in training, if it has auxiliary heads, `Outputs`. With
    `load_encoder` False, for weights that a checkpoint will replace, neither the hub nor a file is accessed.
    """
    if isinstance(settings, PlainUNetSettings):
        return PlainUNet(in_channels, out_channels, settings)
    if isinstance(settings, CustomSettings):
        return build_custom(settings, in_channels, out_channels)
    weights = settings.encoder_weights if load_encoder else None
    if isinstance(settings, TernausNetSettings):
        return _with_weights(
            lambda name: TernausNet(in_channels, out_channels, settings, weights=str(name) if name else None),
            settings.encoder,
            weights,
        )
    check_smp(settings)
    network = _with_weights(partial(build_smp, settings, in_channels, out_channels), settings.encoder, weights)
    if settings.hypercolumn or settings.deep_supervision or settings.empty_head:
        return SmpNetwork(network, settings, out_channels)
    return network


def input_sizes(settings: ModelSettings) -> tuple[int, int]:
    """Return the number that the sides of inputs must be multiples of, and the pixels lost at each edge.

    >>> input_sizes(PlainUNetSettings(depth=4)), input_sizes(SmpSettings())
    ((16, 0), (32, 0))
    >>> input_sizes(PlainUNetSettings(padding="valid", filters=64, depth=4))
    (16, 94)
    """
    if isinstance(settings, PlainUNetSettings):
        margin = 0
        if settings.padding == "valid":
            with torch.device("meta"):  # sizes without memory
                margin = PlainUNet(1, 1, settings).margin
        return settings.unshuffle * 2**settings.depth, margin
    if isinstance(settings, CustomSettings):
        return settings.input_multiple, 0
    return int(2 ** settings.options.get("encoder_depth", 5)) if isinstance(settings, SmpSettings) else 32, 0


def _with_weights(build: _Build, encoder: str, weights: str | None) -> nn.Module:
    """Build a network, its encoder filled from a file, from the hub, or at random."""
    if weights is None:
        return build(None)
    if Path(weights).suffix.lower() not in (".pth", ".pt", ".safetensors"):  # a name on the hub
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
        raise ConfigError(_explain_hub_failure(encoder, weights, error)) from error


def fill_encoder(encoder: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load an encoder's weights from those of a classifier.

    timm names a stage `stages.0` in a classifier and `model.stages_0` in an encoder, so names are compared without the
    prefix and with dots for underscores. Parts that the encoder lacks are left out: the classifier's head, and the
    stages below `encoder_depth`. A first convolution of three channels is adapted by `fold_channels`.
    """
    wanted = encoder.state_dict()
    given = {_spell(name): tensor for name, tensor in tensors.items()}
    spelled = {_spell(name): name for name in wanted}
    found = {spelled[name]: _fit(given[name], wanted[spelled[name]]) for name in spelled if name in given}
    # files older than PyTorch 0.4.1 do not count batches, and nothing here reads the count
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    reshaped = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    parts = {_part(name) for name in wanted}
    extra = [name for name in given.keys() - spelled.keys() if any(name.startswith(f"{part}.") for part in parts)]
    faults = {"missing": missing, "of another shape": reshaped, "unexpected": sorted(extra)}
    if lines := [f"{what}: {', '.join(shorten_list(names))}" for what, names in faults.items() if names]:
        msg = f"weights {where} do not fit model.encoder; give the file of exactly this encoder, or null"
        raise ConfigError("\n  - ".join([msg, *lines]))
    # the encoders' own load_state_dict insists on heads and older names
    nn.Module.load_state_dict(encoder, {**wanted, **found})


def fold_channels(weight: Tensor, n_channels: int) -> Tensor:
    """Adapt a convolution of RGB images to another number of channels, as smp does.

    The result for an image of equal channels is the same if `n_channels` is 1 or a multiple of 3.

    >>> fold_channels(torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1), 1).flatten()
    tensor([9.])
    >>> fold_channels(torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1), 2).flatten()
    tensor([1.5000, 3.0000])
    """
    if n_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    turns = torch.arange(n_channels) % weight.shape[1]
    return weight[:, turns] * (weight.shape[1] / n_channels)


def _explain_hub_failure(encoder: str, weights: str, reason: BaseException) -> str:
    """Compose the message for pretrained weights that can't be downloaded."""
    repository, revision = _hub_repository(encoder, weights)
    cause = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    return (
        f"encoder weights {weights!r} of {encoder} can't be downloaded from {repository} ({cause}). "
        f"Where there is a network: hf download {repository} model.safetensors --revision {revision} --local-dir . "
        "then bring the file here and set model.encoder_weights to its path, "
        "or set model.encoder_weights to null to start from random weights"
    )


def _hub_repository(encoder: str, weights: str) -> tuple[str, str]:
    """Return the repository on the Hugging Face hub that holds the weights, and its revision."""
    import segmentation_models_pytorch as smp
    import timm

    if encoder.startswith("tu-"):
        served = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        return (served.hf_hub_id if served and served.hf_hub_id else "the timm hub"), "main"
    settings = smp.encoders.encoders[encoder]["pretrained_settings"][weights]
    return settings["repo_id"], settings["revision"]


def _spell(name: str) -> str:
    """Return a weight's name in the spelling that classifiers and encoders share."""
    for prefix in ("module.", "model."):
        while name.startswith(prefix):
            name = name.removeprefix(prefix)
    return name.replace("_", ".")


def _part(name: str) -> str:
    """Return the part of an encoder that a weight belongs to, such as `layer1`."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return _spell(name.split(".")[0])


def _fit(tensor: Tensor, wanted: Tensor) -> Tensor:
    """Adapt the channels of a first convolution of RGB images; return any other tensor as it is."""
    is_first = tensor.ndim == wanted.ndim == 4 and tensor.shape[1] == 3
    return fold_channels(tensor, wanted.shape[1]) if is_first and wanted.shape[1] != 3 else tensor
