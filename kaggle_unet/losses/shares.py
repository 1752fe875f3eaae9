"""Which planes count how much in a term of the loss, and what settings make no sense for a codec; free of torch."""

from collections.abc import Mapping, Sequence

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.settings import Activation, LossSettings

# The terms that compare planes, and the setting that names their shares.
_SHARED_BY = {
    "cross_entropy": "cross_entropy_planes",
    "focal": "cross_entropy_planes",
    "dice": "dice_planes",
    "lovasz": "lovasz_planes",
}


def check_terms(settings: LossSettings, plane_names: Sequence[str], activation: Activation) -> None:
    """Refuse settings that a codec can't have."""
    if activation == "softmax":
        _refuse_sigmoid_only(settings)
    for term, key in _SHARED_BY.items():
        if unknown := sorted(set(getattr(settings, key)) - set(plane_names)):
            msg = f"loss.{key} names {', '.join(unknown)}; the codec's planes are {', '.join(plane_names)}"
            raise ConfigError(msg)
        if getattr(settings, term) and not any(plane_shares(settings, term, plane_names, activation)):
            msg = f"loss.{key} leaves no plane for loss.{term}; give one a share above 0, or set loss.{term} to 0"
            raise ConfigError(msg)
    if not any(getattr(settings, term) for term in _SHARED_BY):
        msg = f"loss.{', loss.'.join(_SHARED_BY)} are all 0, which leaves nothing to minimise; set one above 0"
        raise ConfigError(msg)


def plane_shares(
    settings: LossSettings, term: str, plane_names: Sequence[str], activation: Activation
) -> tuple[float, ...]:
    """Give the share of each plane in a term.

    Parameters
    ----------
    settings : LossSettings
        All of them.
    term : {"cross_entropy", "focal", "dice", "lovasz"}
        The term.
    plane_names : sequence of str
        The codec's planes.
    activation : {"sigmoid", "softmax"}
        The codec's.

    Returns
    -------
    shares : tuple of float
        1 where the settings say nothing, but 0 for the background of a softmax: its share of the picture would hide
        the others.

    Examples
    --------
    >>> plane_shares(LossSettings(dice_planes={"border": 2.0}), "dice", ("interior", "border", "background"), "softmax")
    (1.0, 2.0, 0.0)
    """
    named: Mapping[str, float] = getattr(settings, _SHARED_BY[term])
    return tuple(
        named.get(name, 0.0 if activation == "softmax" and name == "background" else 1.0) for name in plane_names
    )


def _refuse_sigmoid_only(settings: LossSettings) -> None:
    for key, is_given, instead in (
        ("cross_entropy_planes", bool(settings.cross_entropy_planes), "weigh its classes with weights.classes"),
        ("focal_alpha", settings.focal_alpha is not None, "weigh its classes with weights.classes"),
        ("lovasz_symmetric", settings.lovasz_symmetric, "give its background a share in loss.lovasz_planes"),
    ):
        if is_given:
            msg = f"loss.{key} is for codecs of independent planes, and this one is a softmax: {instead}"
            raise ConfigError(msg)
