"""What a config says about prediction; free of torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from kaggle_unet.types import Settings


class InferenceSettings(Settings):
    """How planes are predicted: out-of-fold and for a submission.

    Validation between epochs is quicker: one view of each image as it is, of the padding given here.

    Attributes
    ----------
    flips : {"none", "horizontal", "d4"}
        Views that are averaged: the image alone, with its mirror image, or all eight of the square's symmetries.
    mean : {"arithmetic", "geometric"}
        Of the probabilities of all networks and views; the geometric one is made to add up to 1 again, and one network
        that is sure of a pixel then counts more than several that are not.
    weights : tuple of float, optional
        How much each checkpoint counts, in their order; all alike by default, and not at all with 0.
    scales : tuple of float
        Sizes at which images are shown, 1 as they are; planes are brought back and averaged, with as many views each.
        0.5 shows the network nuclei half as large: a help where some are far larger than those it has learnt. Sides are
        rounded to what the network takes, tiles are scaled as they are. Not for a network without padding.
    object_px : float, optional
        Diameter of the objects that the network has learnt from. Where those found in an image, by the config's own
        decoding, are at least three and 1.5 times as large or as small, it is shown again, scaled so that they have
        this size, from 1/4 to 4; these planes count. Not for single objects, nor for a network without padding.
    batch : int
        Images of one size a forward pass takes; part of what decides the last bits of a prediction.
    pad_to_multiple : int
        Sides are mirrored up to a multiple of this and of what the network takes, in validation, too. 128 shows a
        tile of 101 pixels to the network as its training crops of 128 did.
    tile_px : int
        Images with a longer side (padded) are predicted in overlapping tiles of this side at most, and decoded in
        stripes; results of smaller ones do not depend on it.
    overlap_px : int
        Least overlap of neighbouring tiles. Its outer 3/8 on either side count nothing: 256 is enough for a U-Net of
        depth 4 to give what it gives for the whole image, with `unshuffle` that many times as much. A network without
        padding ignores it, its outputs abut.
    """

    flips: Literal["none", "horizontal", "d4"] = "none"
    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (1.0,)
    object_px: Annotated[float, Field(gt=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 8
    pad_to_multiple: Annotated[int, Field(ge=1)] = 1
    tile_px: Annotated[int, Field(ge=32)] = 2048
    overlap_px: Annotated[int, Field(ge=0)] = 256

    @field_validator("weights")
    @classmethod
    def _refuse_nothing(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            msg = "one weight at least is above 0"
            raise ValueError(msg)
        return weights
