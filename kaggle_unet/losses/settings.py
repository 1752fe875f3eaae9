"""What a config says about the loss; free of torch."""

from typing import Annotated, Literal

from pydantic import Field

from kaggle_unet.types import Settings

Coefficient = Annotated[float, Field(ge=0)]


class LossSettings(Settings):
    """The loss is cross_entropy · weighted cross-entropy + dice · (1 − soft Dice).

    Attributes
    ----------
    cross_entropy : float
        Coefficient of the pixelwise cross-entropy (binary for sigmoid codecs), multiplied by the weight maps.
    dice : float
        Coefficient of 1 − soft Dice.
    dice_over : {"batch", "image"}
        Whether sums run over the whole batch or over each image.
    dice_planes : dict of str to float
        Share of each plane in the Dice term, by the plane's name; 0 leaves one out. Planes not named have 1, but the
        background of a softmax codec has 0.
    smooth : float
        Added to both sides of the Dice fraction.
    """

    cross_entropy: Coefficient = 1.0
    dice: Coefficient = 1.0
    dice_over: Literal["batch", "image"] = "batch"
    dice_planes: dict[str, Coefficient] = {}
    smooth: Annotated[float, Field(gt=0)] = 1.0
