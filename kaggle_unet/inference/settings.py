"""What a config says about prediction; free of torch."""

from typing import Annotated, Literal

from pydantic import Field

from kaggle_unet.types import Settings


class InferenceSettings(Settings):
    """How planes are predicted.

    Attributes
    ----------
    flips : {"none", "horizontal", "d4"}
        Views that are averaged: the image alone, with its mirror image, or all eight of the square's symmetries.
    batch : int
        Images of one size a forward pass takes; part of what decides the last bits of a prediction.
    """

    flips: Literal["none", "horizontal", "d4"] = "none"
    batch: Annotated[int, Field(ge=1)] = 8
