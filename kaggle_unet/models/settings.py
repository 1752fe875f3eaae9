"""What a config says about the network; free of torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from kaggle_unet.types import Settings

Rate = Annotated[float, Field(ge=0, lt=1)]


class PlainUNetSettings(Settings):
    """The U-Net of the articles (`kaggle_unet.models.plain_unet.PlainUNet`).

    Attributes
    ----------
    filters : int
        Filters of the first level; doubled at each level below.
    depth : int
        Number of poolings.
    padding : {"same", "valid"}
        `valid` is Ronneberger's: the output is smaller than the input.
    norm : {"none", "batch", "group"}
        After each convolution.
    activation : {"relu", "elu"}
        After each norm.
    dropout : float or tuple of float
        One rate, or one per level from the top (depth + 1 of them).
    dropout_place : {"between", "after", "bottleneck"}
        Between a block's two convolutions, after each block, or after the lowest block alone.
    upsampling : {"transposed2", "transposed3", "nearest", "bilinear"}
        Transposed convolutions of 2 × 2 or 3 × 3, or interpolation and a convolution.
    """

    name: Literal["plain_unet"] = "plain_unet"
    filters: Annotated[int, Field(ge=1)] = 16
    depth: Annotated[int, Field(ge=1, le=8)] = 4
    padding: Literal["same", "valid"] = "same"
    norm: Literal["none", "batch", "group"] = "batch"
    activation: Literal["relu", "elu"] = "relu"
    dropout: Rate | tuple[Rate, ...] = 0.0
    dropout_place: Literal["between", "after", "bottleneck"] = "between"
    upsampling: Literal["transposed2", "transposed3", "nearest", "bilinear"] = "transposed2"


class SmpSettings(Settings):
    """Any network of segmentation-models-pytorch (`smp.create_model`).

    Attributes
    ----------
    architecture : str
        `unet`, `unetplusplus`, `fpn`, …
    encoder : str
        `resnet34`, …, or `tu-…` for any timm encoder.
    encoder_weights : str, optional
        A name the hub knows (`imagenet`), the path of a local `.pth`, `.pt` or `.safetensors` file, or None.
    options : dict
        Further keyword arguments of `smp.create_model`.
    """

    name: Literal["smp"] = "smp"
    architecture: str = "unet"
    encoder: str = "resnet34"
    encoder_weights: str | None = None
    options: dict[str, Any] = {}


ModelSettings = Annotated[PlainUNetSettings | SmpSettings, Field(discriminator="name")]
