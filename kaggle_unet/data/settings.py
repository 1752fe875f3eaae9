"""Settings of inputs, augmentation and folds; free of torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kaggle_unet.types import Settings

Channel = Literal["gray", "red", "green", "blue", "depth", "ramp", "gray_ramp"]
NumberedChannel = Annotated[str, Field(pattern=r"^channel\d{1,3}$")]


class InputSettings(Settings):
    """The inputs of a network."""

    channels: tuple[Channel | NumberedChannel, ...] = ("gray",)
    """The channels in order: `gray` (luma), `red`, `green`, `blue`, `depth` (the sample's depth scaled to 0…1), `ramp`
    (from 0 at the top row to 1 at the bottom), `gray_ramp` (the product of luma and ramp). For images of any number of
    channels: `channel0`, `channel1`, …, each normalised by itself, and not together with gray or colours."""
    normalize: Literal["percentile", "range"] = "percentile"
    """`percentile` maps the 1st and 99.8th percentiles of each image to 0 and 1; `range` divides by 255, images of 16
    bits by 65535, and expects floats from 0 to 1."""
    invert_bright: bool = False
    """Whether images with a bright background are inverted, so that objects are always the brighter part."""
    mean: float = 0.0
    """Subtracted from every channel after normalisation."""
    std: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of every channel, after `mean` is subtracted."""

    @model_validator(mode="after")
    def _refuse_a_mixture(self) -> Self:
        if self.numbers and set(self.channels) & {"gray", "red", "green", "blue", "gray_ramp"}:
            msg = f"channels is {', '.join(self.channels)}; take gray and colours, or channel0, channel1, …, not both"
            raise ValueError(msg)
        return self

    @property
    def numbers(self) -> list[int]:
        """Numbers of the image's channels that were chosen by number."""
        return [int(name.removeprefix("channel")) for name in self.channels if name.startswith("channel")]


class ElasticSettings(Settings):
    """Elastic deformation: random displacements of a coarse grid, interpolated to all pixels."""

    p: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Fraction of the crops that are deformed."""
    sigma_px: Annotated[float, Field(gt=0)] = 5.0
    """Standard deviation of the displacements, which are clipped at twice this value. The U-Net paper has 10."""
    grid: Annotated[int, Field(ge=2)] | None = None
    """Points of the grid per side; None puts one every 40 px. The U-Net paper has 3."""


class AugmentationSettings(Settings):
    """Sampling and augmentation of the training samples."""

    preset: Literal["none", "light", "nuclei", "salt", "first_place", "salt_first_place"] = "light"
    """The augmentation preset; `kaggle_unet/data/augment.py` has the numbers of each."""
    crop_px: Annotated[int, Field(ge=16)] | None = None
    """Side of the square crops; smaller images are extended by mirroring. None uses whole images, padded."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.7, 1.4)
    """Range of the random zoom; `nuclei` and `first_place` only."""
    elastic: ElasticSettings | None = None
    """Elastic deformation in place of the preset's own."""
    crops_per_image: Annotated[int, Field(ge=1)] = 1
    """Crops drawn per image and epoch, on average over all images."""
    crops_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """Length of an epoch in crops, in place of `crops_per_image`, where a full pass would take too long. The next epoch
    continues where the last one stopped, so every image has its turn."""
    crop_finds_objects: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a crop is placed so that the centre of a random instance lies in its inner half, or as near to
    it as the image's edges allow; a rotated crop does not reach into a corner."""
    sampling: Literal["uniform", "kind", "coverage"] = "uniform"
    """Which images are drawn more often: none, those of rare types, or those of rare classes of mask coverage. The
    length of an epoch does not change."""
    # The 1st place of DSB2018 takes its rare types 2 to 4 times; ½ does the same for the competition's three types.
    sampling_strength: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much more often: a stratum's share of an epoch is proportional to its size to the power 1 − strength. 0
    prefers none, 1 gives every stratum the same share. No effect for `uniform`."""


class FoldSettings(Settings):
    """Division of the samples into folds."""

    n: Annotated[int, Field(ge=2)] = 5
    """Number of folds."""
    seed: int = 0
    """Seed of the shuffling."""
    group: Literal["mosaic", "kind", "none"] = "none"
    """`mosaic` keeps tiles cut from one picture in one fold, `kind` all images of a type: with as many folds as types,
    each image is predicted by a network that has never seen its type."""
    stratify: Literal["kind", "coverage", "none"] = "kind"
    """What is distributed evenly over the folds: image types, or classes of mask coverage."""
