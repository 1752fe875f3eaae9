"""What a config says about the loss; free of torch."""

from typing import Annotated, Literal

from pydantic import Field

from kaggle_unet.types import Settings

Coefficient = Annotated[float, Field(ge=0)]
Activation = Literal["sigmoid", "softmax"]
Share = Annotated[float, Field(gt=0, lt=1)]


class LossSettings(Settings):
    """The loss is the sum of its terms, each times its coefficient; a term of coefficient 0 is not computed.

    Attributes
    ----------
    cross_entropy : float
        Coefficient of the pixelwise cross-entropy (binary for sigmoid codecs), multiplied by the weight maps.
    cross_entropy_planes : dict of str to float
        Share of each plane of a sigmoid codec in the cross-entropy and in the focal loss, by the plane's name, such as
        10 for the border; 1 for those not named. A softmax codec has `weights.classes` for that.
    dice : float
        Coefficient of 1 − soft Dice.
    dice_over : {"batch", "image"}
        Whether sums run over the whole batch or over each image.
    dice_planes : dict of str to float
        Share of each plane in the Dice term, by the plane's name; 0 leaves one out. Planes not named have 1, but the
        background of a softmax codec has 0.
    smooth : float
        Added to both sides of the Dice fraction.
    focal : float
        Coefficient of the focal loss, multiplied by the weight maps.
    focal_gamma : float
        Exponent of 1 − the probability of what is true; 0 makes it the cross-entropy.
    focal_alpha : float, optional
        Weight of what is there, 1 − alpha that of what is not; for sigmoid codecs. None weighs both with 1.
    lovasz : float
        Coefficient of the Lovász hinge (of the Lovász-Softmax for softmax codecs).
    lovasz_over : {"batch", "image"}
        Whether the IoU it stands for is that of the whole batch, or of each image.
    lovasz_planes : dict of str to float
        Share of each plane, as in `dice_planes`.
    lovasz_hinge : {"relu", "elu1"}
        How an error becomes a cost in the hinge: cut off at 0, or ELU + 1, which also pulls on pixels that are right.
    lovasz_symmetric : bool
        Whether the hinge is the mean of those of the objects and of the background; for sigmoid codecs.
    empty : float
        Coefficient of the binary cross-entropy of a network's `empty_head`; in training and in validation.
    deep_supervision : float
        Coefficient of the mean over a network's side outputs, each of which is given all terms above but `empty`; in
        training alone.
    deep_supervision_images : {"all", "non_empty"}
        Whether images without any object count for the side outputs.
    """

    cross_entropy: Coefficient = 1.0
    cross_entropy_planes: dict[str, Coefficient] = {}
    dice: Coefficient = 1.0
    dice_over: Literal["batch", "image"] = "batch"
    dice_planes: dict[str, Coefficient] = {}
    smooth: Annotated[float, Field(gt=0)] = 1.0
    focal: Coefficient = 0.0
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    focal_alpha: Share | None = None
    lovasz: Coefficient = 0.0
    lovasz_over: Literal["batch", "image"] = "image"
    lovasz_planes: dict[str, Coefficient] = {}
    lovasz_hinge: Literal["relu", "elu1"] = "elu1"
    lovasz_symmetric: bool = False
    empty: Coefficient = 0.0
    deep_supervision: Coefficient = 0.0
    deep_supervision_images: Literal["all", "non_empty"] = "all"
