"""Settings of the loss, checked against a codec; free of torch."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from kaggle_unet.errors import ConfigError
from kaggle_unet.types import Settings

Coefficient = Annotated[float, Field(ge=0)]
Activation = Literal["sigmoid", "softmax"]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class LossSettings(Settings):
    """The sum of all terms, each multiplied by its coefficient; a term with coefficient 0 is not computed."""

    cross_entropy: Coefficient = 1.0
    """Coefficient of the pixelwise cross-entropy (binary for sigmoid codecs), multiplied by the weight maps."""
    cross_entropy_planes: dict[str, Coefficient] = {}
    """Weight of each plane of a sigmoid codec in the cross-entropy and the focal loss, such as 10 for the border;
    planes not named have 1. For a softmax codec use `weights.classes`."""
    dice: Coefficient = 1.0
    """Coefficient of 1 − soft Dice."""
    dice_over: Literal["batch", "image"] = "batch"
    """Whether Dice is computed over the whole batch or over each image."""
    dice_planes: dict[str, Coefficient] = {}
    """Weight of each plane in the Dice term; 0 leaves one out. Planes not named have 1, except the background of a
    softmax codec, which has 0."""
    smooth: Annotated[float, Field(gt=0)] = 1.0
    """Added to numerator and denominator of the Dice fraction."""
    focal: Coefficient = 0.0
    """Coefficient of the focal loss, multiplied by the weight maps."""
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    """Exponent of 1 − the probability of the true class; 0 gives the cross-entropy."""
    focal_alpha: Fraction | None = None
    """Weight of foreground pixels; background pixels get 1 − alpha. For sigmoid codecs. None gives both 1."""
    lovasz: Coefficient = 0.0
    """Coefficient of the Lovász hinge (Lovász-Softmax for softmax codecs)."""
    lovasz_over: Literal["batch", "image"] = "image"
    """Whether the Lovász loss approximates the IoU of the whole batch or of each image."""
    lovasz_planes: dict[str, Coefficient] = {}
    """Weight of each plane, as in `dice_planes`."""
    lovasz_hinge: Literal["relu", "elu1"] = "elu1"
    """How an error becomes a cost: cut off at 0, or ELU + 1, whose gradient is not 0 on correct pixels; for sigmoid."""
    lovasz_symmetric: bool = False
    """Whether the hinges of foreground and background are averaged; for sigmoid codecs."""
    empty: Coefficient = 0.0
    """Coefficient of the binary cross-entropy of a network's `empty_head`, in training and in validation."""
    deep_supervision: Coefficient = 0.0
    """Coefficient of the mean over a network's side outputs, each of which gets all terms above except `empty`; in
    training only."""
    deep_supervision_images: Literal["all", "non_empty"] = "all"
    """Whether images without objects count for the side outputs."""


# The terms that compare planes, and the setting that weighs their planes.
_PLANES_OF = {
    "cross_entropy": "cross_entropy_planes",
    "focal": "cross_entropy_planes",
    "dice": "dice_planes",
    "lovasz": "lovasz_planes",
}


def check_terms(settings: LossSettings, plane_names: Sequence[str], activation: Activation) -> None:
    """Raise `ConfigError` for settings that do not suit a codec."""
    if activation == "softmax":
        _refuse_sigmoid_only(settings)
    for term, key in _PLANES_OF.items():
        if unknown := sorted(set(getattr(settings, key)) - set(plane_names)):
            raise ConfigError(f"loss.{key} names {', '.join(unknown)}; the codec's planes are {', '.join(plane_names)}")
        if getattr(settings, term) and not any(term_plane_weights(settings, term, plane_names, activation)):
            msg = f"loss.{key} leaves no plane for loss.{term}; give one a weight above 0, or set loss.{term} to 0"
            raise ConfigError(msg)
    if not any(getattr(settings, term) for term in _PLANES_OF):
        msg = f"loss.{', loss.'.join(_PLANES_OF)} are all 0, which leaves nothing to minimise; set one above 0"
        raise ConfigError(msg)


def term_plane_weights(
    settings: LossSettings, term: str, plane_names: Sequence[str], activation: Activation
) -> tuple[float, ...]:
    """Return the weight of each plane in a term.

    It is 1 where the settings name none, but 0 for the background of a softmax: a plane so large would hide the others.

    >>> settings = LossSettings(dice_planes={"border": 2.0})
    >>> term_plane_weights(settings, "dice", ("interior", "border", "background"), "softmax")
    (1.0, 2.0, 0.0)
    """
    named: Mapping[str, float] = getattr(settings, _PLANES_OF[term])
    return tuple(
        named.get(name, 0.0 if activation == "softmax" and name == "background" else 1.0) for name in plane_names
    )


def _refuse_sigmoid_only(settings: LossSettings) -> None:
    for key, is_given, instead in (
        ("cross_entropy_planes", bool(settings.cross_entropy_planes), "weigh its classes with weights.classes"),
        ("focal_alpha", settings.focal_alpha is not None, "weigh its classes with weights.classes"),
        ("lovasz_symmetric", settings.lovasz_symmetric, "give its background a weight in loss.lovasz_planes"),
    ):
        if is_given:
            raise ConfigError(f"loss.{key} applies to sigmoid codecs, but this one is a softmax: {instead}")
