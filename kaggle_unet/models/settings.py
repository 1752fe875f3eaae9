"""Settings of the network; free of torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from kaggle_unet.types import Settings

EXPORTED = ".onnx"  # what `export` writes
Rate = Annotated[float, Field(ge=0, lt=1)]


class EmptyHeadSettings(Settings):
    """A second head that predicts whether an image contains no object; trained by `loss.empty`."""

    pooling: Literal["avg", "max"] = "avg"
    """How the lowest feature map is pooled to one number per channel."""
    dropout: Rate = 0.0
    """Dropout rate between pooling and the linear layer."""
    gate_above: Rate | None = None
    """Predictions are cleared if the probability of an empty image is above this; for sigmoid codecs. None trains the
    head but clears nothing. Images larger than `inference.tile_px` are cleared tile by tile."""


class PlainUNetSettings(Settings):
    """The U-Net of the articles."""

    name: Literal["plain_unet"] = "plain_unet"
    filters: Annotated[int, Field(ge=1)] = 16
    """Filters of the first level, doubled at each level below."""
    depth: Annotated[int, Field(ge=1, le=8)] = 4
    """Number of pooling steps."""
    unshuffle: Literal[1, 2, 4] = 1
    """Before the first level, k × k neighbouring pixels become channels of one pixel, and the head's channels become
    pixels again: with the same filters the network costs 1/k²."""
    padding: Literal["same", "valid"] = "same"
    """`valid` is Ronneberger's: the output is smaller than the input."""
    norm: Literal["none", "batch", "group"] = "batch"
    """Normalisation after each convolution."""
    activation: Literal["relu", "elu"] = "relu"
    """Activation after each normalisation."""
    dropout: Rate | tuple[Rate, ...] = 0.0
    """One rate, or one per level from the top (depth + 1 of them)."""
    dropout_place: Literal["before", "between", "after", "bottleneck"] = "between"
    """Before each block except the first (after pooling, and after upsampled maps are joined with their skip
    connection), between the two convolutions of each block, after each block, or after the lowest block only."""
    upsampling: Literal["transposed2", "transposed3", "nearest", "bilinear"] = "transposed2"
    """Transposed convolutions of 2 × 2 or 3 × 3, or interpolation and a convolution."""
    attention: Literal["none", "scse"] = "none"
    """Attention at the end of each block."""
    residual: bool = False
    """Whether each block has a shortcut: a 1 × 1 convolution of its input, added before its last activation."""
    hypercolumn: bool = False
    """Whether the head reads the decoder's maps of all levels instead of only the last one."""
    deep_supervision: bool = False
    """Whether lower levels of the decoder have heads of their own in training; trained by `loss.deep_supervision`."""
    empty_head: EmptyHeadSettings | None = None
    """A head that predicts empty images."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        extras = {
            "attention": self.attention != "none",
            "hypercolumn": self.hypercolumn,
            "deep_supervision": self.deep_supervision,
            "empty_head": self.empty_head is not None,
        }
        if self.padding == "valid" and (wanted := [name for name, is_wanted in extras.items() if is_wanted]):
            msg = f"model.{wanted[0]} requires padding same: without padding a pixel must not depend on all others"
            raise ValueError(msg)
        if self.padding == "valid" and self.unshuffle > 1:
            msg = "model.unshuffle requires padding same: without padding the pixels lost are counted one by one"
            raise ValueError(msg)
        if isinstance(self.dropout, tuple) and len(self.dropout) != self.depth + 1:
            msg = f"model.dropout has {len(self.dropout)} rates but depth {self.depth} has {self.depth + 1} levels"
            raise ValueError(f"{msg}; give one each")
        if self.depth == 1 and (self.hypercolumn or self.deep_supervision):
            msg = "model.hypercolumn and model.deep_supervision need a depth of at least 2: a decoder with levels"
            raise ValueError(msg)
        return self


class SmpSettings(Settings):
    """Any network of segmentation-models-pytorch (`smp.create_model`)."""

    name: Literal["smp"] = "smp"
    architecture: str = "unet"
    """`unet`, `unetplusplus`, `fpn`, …"""
    encoder: str = "resnet34"
    """`resnet34`, …, or `tu-…` for any timm encoder."""
    encoder_weights: str | None = None
    """A name known to the hub (`imagenet`), the path of a local `.pth`, `.pt` or `.safetensors` file, or None for
    random weights."""
    options: dict[str, Any] = {}
    """Other keyword arguments of `smp.create_model`, such as `decoder_attention_type: scse`."""
    hypercolumn: bool = False
    """As for `plain_unet`; `unet` architecture only."""
    deep_supervision: bool = False
    """As for `plain_unet`; `unet` architecture only."""
    empty_head: EmptyHeadSettings | None = None
    """A head that predicts empty images (smp's `aux_params`)."""

    @model_validator(mode="after")
    def _architecture_fits(self) -> Self:
        if (self.hypercolumn or self.deep_supervision) and self.architecture.lower() != "unet":
            msg = f"model.hypercolumn and model.deep_supervision require architecture unet, not {self.architecture}"
            raise ValueError(msg)
        if (depth := self.options.get("encoder_depth", 5)) not in range(1, 6):
            raise ValueError(f"model.options.encoder_depth is {depth!r}; expected a whole number from 1 to 5")
        return self


class TernausNetSettings(Settings):
    """The U-Net of the TernausNet paper."""

    name: Literal["ternausnet"] = "ternausnet"
    encoder: Literal["vgg11", "vgg16"] = "vgg11"
    """The paper has `vgg11`."""
    encoder_weights: str | None = None
    """`imagenet`, the path of a local file as torchvision or smp's hub serves it, or None for random weights."""
    filters: Annotated[int, Field(ge=1)] = 32
    """Filters of the decoder's last block; the others have 2, 4, 8 and 8 times as many. The paper has 32."""


class CustomSettings(Settings):
    """A custom network; it runs only with `--trust-code`."""

    name: Annotated[str, Field(pattern=r"^python:[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = "python:module:factory"
    """`python:package.module:factory`: the function is called as `factory(in_channels, out_channels, **options)` and
    returns a `torch.nn.Module` from (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
    options: dict[str, Any] = {}
    """Other keyword arguments of the function."""
    input_multiple: Annotated[int, Field(ge=1)] = 32
    """The sides of inputs must be multiples of this."""


def _kind(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "python:module:factory" if str(name).startswith("python:") else name


ModelSettings = Annotated[
    Annotated[PlainUNetSettings, Tag("plain_unet")]
    | Annotated[SmpSettings, Tag("smp")]
    | Annotated[TernausNetSettings, Tag("ternausnet")]
    | Annotated[CustomSettings, Tag("python:module:factory")],
    Field(discriminator=Discriminator(_kind)),
]
