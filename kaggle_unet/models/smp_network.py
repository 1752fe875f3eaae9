"""Networks of segmentation-models-pytorch, plain or with further heads."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.heads import Hypercolumn, SideHeads
from kaggle_unet.models.names import refuse_unknown
from kaggle_unet.models.outputs import Outputs, answer
from kaggle_unet.models.settings import EmptyHeadSettings, SmpSettings

# What `build` gives itself, or what would make the network return something else than logits.
_TAKEN_OPTIONS = ("arch", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


class SmpNetwork(nn.Module):
    """A network of smp with an empty head, a hypercolumn or deep supervision."""

    def __init__(self, network: nn.Module, settings: SmpSettings, out_channels: int) -> None:
        super().__init__()
        self.network = network
        self._has_empty = settings.empty_head is not None
        self.gate_above = settings.empty_head.gate_above if settings.empty_head else None
        self.hypercolumn: Hypercolumn | None = None
        self.sides: SideHeads | None = None
        if settings.hypercolumn or settings.deep_supervision:
            decoder: Any = network.decoder
            widths = [block.conv2[0].out_channels for block in decoder.blocks]
            if settings.hypercolumn:
                self.hypercolumn = Hypercolumn(widths, norm=nn.BatchNorm2d(widths[-1]), activation=nn.ReLU())
            if settings.deep_supervision:
                self.sides = SideHeads(widths, out_channels)

    def forward(self, inputs: Tensor) -> Tensor | Outputs:
        """Compute logits."""
        return answer(self.outputs(inputs), is_training=self.training)

    def outputs(self, inputs: Tensor) -> Outputs:
        """Compute all that the network says, without any gate."""
        if self.hypercolumn is None and self.sides is None:
            logits, empty = self.network(inputs)
            return Outputs(logits, empty.squeeze(1), gate_above=self.gate_above)
        network: Any = self.network
        features = network.encoder(inputs)
        maps = self._decode(features)
        top = maps[-1] if self.hypercolumn is None else self.hypercolumn(maps)
        return Outputs(
            network.segmentation_head(top),
            network.classification_head(features[-1]).squeeze(1) if self._has_empty else None,
            self.sides(maps) if self.sides is not None and self.training else (),
            self.gate_above,
        )

    def _decode(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Do what smp's `UnetDecoder.forward` does, and keep the maps of all levels, from the bottom."""
        decoder: Any = self.network.decoder
        maps = [decoder.center(features[-1])]
        *above, _ = features  # the first has the inputs' size and is no skip connection
        for block, feature in zip(decoder.blocks, reversed(above), strict=True):
            skip = None if feature is above[0] else feature
            maps.append(block(maps[-1], *feature.shape[2:], skip_connection=skip))
        return maps[1:]


def check_smp(settings: SmpSettings) -> None:
    """Refuse architectures, encoders and options that do not exist, before anything is built."""
    import segmentation_models_pytorch as smp
    import timm

    refuse_unknown("model.architecture", settings.architecture.lower(), list(smp.MODEL_ARCHITECTURES_MAPPING))
    if settings.encoder.startswith("tu-"):
        if not timm.is_model(settings.encoder.removeprefix("tu-")):
            refuse_unknown("model.encoder", settings.encoder, [f"tu-{name}" for name in timm.list_models()])
    else:
        refuse_unknown("model.encoder", settings.encoder, smp.encoders.get_encoder_names())
    _check_options(settings)


def build_smp(settings: SmpSettings, in_channels: int, out_channels: int, weights: str | bool | None) -> nn.Module:
    """Let smp make a network."""
    import segmentation_models_pytorch as smp

    heads = {"aux_params": _aux_params(settings.empty_head)} if settings.empty_head else {}
    try:
        network: nn.Module = smp.create_model(
            settings.architecture,
            settings.encoder,
            weights,
            in_channels=in_channels,
            classes=out_channels,
            **heads,
            **settings.options,
        )
    except (TypeError, ValueError, KeyError) as error:
        msg = f"smp can't make a {settings.architecture} on {settings.encoder} with model.options {settings.options}: "
        raise ConfigError(f"{msg}{error}; see the arguments of smp.create_model") from error
    return network


def _aux_params(settings: EmptyHeadSettings) -> dict[str, Any]:
    return {"classes": 1, "pooling": settings.pooling, "dropout": settings.dropout}


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
        refuse_unknown("model.options", name, known)
