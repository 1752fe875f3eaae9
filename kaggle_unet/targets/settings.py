"""Settings of codecs, borders, weight maps and decoding."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kaggle_unet.types import Settings

BorderRule = Literal["touching", "contour"]
CodecName = Literal["mask", "mask_border", "interior_border", "interior_border_background", "classes"]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class BorderSettings(Settings):
    """The border between instances."""

    rule: BorderRule = "touching"
    """`touching`: two different instances lie within the (2·radius + 1)² window around the pixel. `contour`: the pixel
    belongs to an instance and its window contains anything else."""
    radius_px: Annotated[int, Field(ge=1, le=32)] | Literal["by_size"] = 1
    """Half the window's side, in pixels. `by_size` is the 1st place's table: 6 or 3 on background, and 1, 2 or 3 inside
    an instance of under 300, of under 2,000, and of 2,000 pixels or more."""


class CodecSettings(Settings):
    """The codec, which turns labels into planes and planes into labels."""

    name: CodecName = "interior_border_background"
    """The planes that labels are turned into."""
    border: BorderSettings = BorderSettings()
    """Which pixels are border; no effect for `mask` and `classes`."""
    classes: tuple[str, ...] | None = None
    """`classes` only: names of the classes, in the order of their planes and of the ids 0, 1, … in labels; by default
    those of `competition.classes`."""


class DistanceWeight(Settings):
    """The U-Net paper's w0·exp(−(d1 + d2)² / (2σ²)) on background pixels."""

    w0: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """The weight where d1 + d2 would be 0: the paper's 10; kits derived from neptune's use 50 and add 1 to the map."""
    sigma_px: Annotated[float, Field(gt=0.001, le=1e6)] = 5.0
    """The paper's σ, 5 px there. Kits derived from neptune's write exp(−(d1 + d2)² / σ²), without the 2: their σ is √2
    times this one, so their 10 is 7.07 here."""
    separate_touching: bool = False
    """Whether pixels where instances touch count as background, as in the paper, which first separates cells by a
    line. Otherwise touching instances have no weight between them."""


class SizeWeight(Settings):
    """Weights by the size of an instance: clip((A0 / area)^gamma, lo, hi) inside it, 1 on background."""

    gamma: Positive = 0.5
    """Exponent of the ratio of areas."""
    lo: Positive = 0.5
    """Lower bound of the weight."""
    hi: Annotated[float, Field(gt=0, le=1e6)] = 4.0
    """Upper bound of the weight."""
    reference_area_px: Positive | None = None
    """The reference area A0; None uses the median area of the training set."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.lo > self.hi:
            raise ValueError(f"size weights go from lo {self.lo:g} to hi {self.hi:g}; lo must not be above hi")
        return self


class WeightSettings(Settings):
    """Weight maps, which multiply the cross-entropy: ignore · min(class · size + distance, cap).

    Attributes
    ----------
    distance : DistanceWeight, optional
        The distance weights of the U-Net paper; None leaves them out.
    size : SizeWeight, optional
        Weights by the size of an instance; None leaves them out.
    classes : dict of str to float
        Weight of each class by its name in the codec; classes not named have 1.
    cap : float
        Upper limit of the sum.

    Examples
    --------
    >>> settings = WeightSettings(distance={"w0": 4, "sigma_px": 3}, classes={"border": 2})
    >>> settings.distance.w0, settings.size, settings.cap
    (4.0, None, 20.0)
    """

    distance: DistanceWeight | None = None
    size: SizeWeight | None = None
    classes: dict[str, Annotated[float, Field(ge=0)]] = {}
    cap: Positive = 20.0


class DecodeSettings(Settings):
    """Decoding of planes into labels.

    Attributes
    ----------
    mask_threshold : float
        A pixel belongs to an instance if its probability of being inside one is above this.
    seed_threshold : float
        A pixel may be a seed if its interior (or mask) probability is above this.
    border_threshold : float
        A pixel whose border probability is above this is no seed.
    min_seed_px : int
        Seeds with fewer pixels are dropped.
    keep_seedless : bool
        Whether a component of the mask without any seed becomes an instance of its own.
    single_object : bool
        Whether all pixels of the mask are one instance (TGS).
    expected_iou : bool
        With `single_object`, choose each image's threshold so that the expected IoU of the mask is highest;
        `mask_threshold` is then the expected IoU below which an image is left empty.

    Examples
    --------
    >>> DecodeSettings(mask_threshold=0.4).seed_threshold
    0.5
    """

    mask_threshold: Probability = 0.5
    seed_threshold: Probability = 0.5
    border_threshold: Probability = 0.5
    min_seed_px: Annotated[int, Field(ge=0)] = 0
    keep_seedless: bool = True
    single_object: bool = False
    expected_iou: bool = False
