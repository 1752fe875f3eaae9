"""Settings of prediction; free of torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from kaggle_unet.types import Settings

PLANE_SETTINGS = ("flips", "mean", "scales", "object_px", "pad_to_multiple")  # those that change planes


class InferenceSettings(Settings):
    """Prediction of planes, out-of-fold and for a submission.

    Validation between epochs is quicker: one view of each image, with the padding set here.
    """

    flips: Literal["none", "horizontal", "d4"] = "none"
    """Test-time augmentation: the views that are averaged are the image alone, the image and its mirror image, or all
    eight symmetries of the square."""
    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    """Mean of the probabilities of all networks and views. The geometric one is normalised to add up to 1, and gives a
    confident network more influence than several uncertain ones."""
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """Weight of each checkpoint, in order; equal by default. 0 leaves a checkpoint out."""
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (1.0,)
    """Scales at which each image is predicted; the planes are resized back and averaged. 0.5 shows the network objects
    at half their size, which helps if some are much larger than those it was trained on. Not for a network without
    padding."""
    object_px: Annotated[float, Field(gt=0)] | None = None
    """Diameter of the objects that the network was trained on. If an image contains at least three objects, decoded
    with the config's settings, and they are 1.5 times larger or smaller, it is predicted again at the scale, from
    1/4 to 4, that gives them this size; only those planes count. Not for single objects, nor for a network without
    padding."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Images of one size per forward pass; affects the last bits of a prediction. Halved, with a warning, if the
    device's memory is too small."""
    pad_to_multiple: Annotated[int, Field(ge=1)] = 1
    """Sides are padded by mirroring to a multiple of this and of what the network requires, also in validation. 128
    pads a tile of 101 pixels to the size of training crops of 128."""
    tile_px: Annotated[int, Field(ge=32)] = 2048
    """Images with a longer side, once padded, are predicted in overlapping tiles of at most this side, and decoded in
    stripes. Results for smaller images do not depend on this."""
    overlap_px: Annotated[int, Field(ge=0)] = 256
    """Least overlap of neighbouring tiles. Its outer 3/8 on either side are ignored: with 256, a U-Net of depth 4 gives
    the planes of the whole image, as do 512 and 1024 with `unshuffle` 2 and 4. Group norm, scSE and `gate_above` look
    at each tile as a whole, so their planes differ. Divided by the smallest of `scales`, up to half a tile. Ignored for
    a network without padding, whose outputs adjoin."""

    @field_validator("weights")
    @classmethod
    def _refuse_nothing(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            raise ValueError("at least one weight must be above 0")
        return weights
