"""Networks on pretrained encoders: those of segmentation-models-pytorch (smp), with auxiliary heads, and TernausNet."""

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.heads import Hypercolumn, Outputs, SideHeads, select_outputs
from kaggle_unet.models.settings import SmpSettings, TernausNetSettings


def refuse_unknown(key: str, name: str, known: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that is not among the known ones, and name the nearest.

    >>> refuse_unknown("model.encoder", "resnet43", ["resnet34", "vgg11"])
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.ConfigError: model.encoder 'resnet43' is unknown; did you mean resnet34?
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known)[:20])}"
    raise ConfigError(f"{key} {name!r} is unknown; {hint}")


# Options that `build_smp` sets, or that would make the network return something other than logits.
_TAKEN_OPTIONS = ("arch", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


class SmpNetwork(nn.Module):
    """An smp network with an empty head, a hypercolumn or deep supervision."""

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
        return select_outputs(self.outputs(inputs), is_training=self.training)

    def outputs(self, inputs: Tensor) -> Outputs:
        """Compute the outputs of all heads, before images are suppressed."""
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
        """Compute the maps of all levels, from the bottom, as smp's `UnetDecoder.forward` does."""
        decoder: Any = self.network.decoder
        maps = [decoder.center(features[-1])]
        *above, _ = features  # the first has the inputs' size and is no skip connection
        for block, feature in zip(decoder.blocks, reversed(above), strict=True):
            skip = None if feature is above[0] else feature
            maps.append(block(maps[-1], *feature.shape[2:], skip_connection=skip))
        return maps[1:]


def check_smp(settings: SmpSettings) -> None:
    """Raise `ConfigError` for an unknown architecture, encoder or option, before anything is built."""
    import segmentation_models_pytorch as smp
    import timm

    refuse_unknown("model.architecture", settings.architecture.lower(), list(smp.MODEL_ARCHITECTURES_MAPPING))
    if settings.encoder.startswith("tu-"):
        if not timm.is_model(settings.encoder.removeprefix("tu-")):
            refuse_unknown("model.encoder", settings.encoder, [f"tu-{name}" for name in timm.list_models()])
    else:
        refuse_unknown("model.encoder", settings.encoder, smp.encoders.get_encoder_names())
    if taken := sorted(set(settings.options) & set(_TAKEN_OPTIONS)):
        msg = f"model.options can't hold {', '.join(taken)}: kaggle-unet sets them, or needs plain logits; leave them "
        raise ConfigError(f"{msg}out")
    if settings.encoder.startswith("tu-"):
        return  # options unknown to smp go on to timm, which refuses those it does not know either
    architecture = smp.MODEL_ARCHITECTURES_MAPPING[settings.architecture.lower()]
    known = [name for name in inspect.signature(architecture).parameters if name not in (*_TAKEN_OPTIONS, "kwargs")]
    for name in settings.options:
        refuse_unknown("model.options", name, known)


def build_smp(settings: SmpSettings, in_channels: int, out_channels: int, weights: str | bool | None) -> nn.Module:
    """Build a network with smp, with random weights if `weights` is False or None."""
    import segmentation_models_pytorch as smp

    options = {"in_channels": in_channels, "classes": out_channels, **settings.options}
    if head := settings.empty_head:
        options["aux_params"] = {"classes": 1, "pooling": head.pooling, "dropout": head.dropout}
    faults = (TypeError, ValueError, KeyError, AttributeError, *([] if weights else [RuntimeError]))  # or the hub's
    try:
        network: nn.Module = smp.create_model(settings.architecture, settings.encoder, weights, **options)
    except faults as error:
        msg = f"smp can't create a {settings.architecture} on {settings.encoder} with model.options {settings.options}"
        raise ConfigError(f"{msg}: {error}; see the arguments of smp.create_model") from error
    return network


_N_IN = 512  # channels of the lowest map of every VGG


class TernausNet(nn.Module):
    """TernausNet: VGG11 without its classifier, five blocks up, skip connections before each pooling.

    With VGG11, 3 channels in and one plane out there are 22,927,393 parameters, as in the authors' UNet11. With VGG16
    the decoder is the same; the authors' own UNet16 has another one, described in no paper. Iglovikov, Shvets 2018,
    https://arxiv.org/abs/1801.05746, https://github.com/ternaus/TernausNet.
    """

    def __init__(
        self, in_channels: int, out_channels: int, settings: TernausNetSettings, *, weights: str | None = None
    ) -> None:
        import segmentation_models_pytorch as smp

        super().__init__()
        self.encoder = smp.encoders.get_encoder(settings.encoder, in_channels=in_channels, depth=5, weights=weights)
        filters = settings.filters
        widths = [8 * filters, 8 * filters, 4 * filters, 2 * filters, filters]
        skips = self.encoder.out_channels[-2::-1]  # from the bottom
        *levels, top = [_N_IN, *(skip + width for skip, width in zip(skips, widths, strict=True))]
        middles = [16 * filters, 16 * filters, 16 * filters, 8 * filters, 4 * filters]
        self.up = nn.ModuleList(
            _Block(n_in, middle, n_out) for n_in, middle, n_out in zip(levels, middles, widths, strict=True)
        )
        self.merge = nn.Sequential(nn.Conv2d(top, filters, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(filters, out_channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits (B, out_channels, H, W) from inputs whose sides are multiples of 32."""
        *skips, x = self.encoder(inputs)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([up(x), skip], dim=1)
        logits: Tensor = self.head(self.merge(x))
        return logits


class _Block(nn.Sequential):
    """A convolution, and a transposed convolution that doubles the sides."""

    def __init__(self, n_in: int, n_middle: int, n_out: int) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_middle, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(n_middle, n_out, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
        )
