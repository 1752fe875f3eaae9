"""Codecs: labels to the planes that a network learns (`encode`), and planes back to labels (`decode`).

Codecs differ only in their planes, so a new one is a line in `CODECS`; tests/targets/test_codecs.py then checks it
against the contract. `interior` and `border` never overlap; next to a `mask`, `border` also covers background between
instances. The codec `classes` is different: its labels hold not instances but every pixel's class, 0…K−1 in the order
of the classes' names, and `IGNORED_CLASS` where none is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import check_dense_labels, check_labels
from kaggle_unet.metrics.pixels import OF_MASKS
from kaggle_unet.targets.border import keep_one_seed_pixel, mark_border
from kaggle_unet.targets.settings import BorderRule, BorderSettings, CodecName, CodecSettings, DecodeSettings
from kaggle_unet.targets.watershed import decode_instances
from kaggle_unet.types import IGNORED_CLASS, Labels, Mask, Planes


@dataclass(frozen=True)
class Codec:
    """A target scheme: what its planes show, and the classes of which every pixel has exactly one."""

    name: CodecName
    planes: tuple[str, ...]
    classes: tuple[str, ...]  # class weights use these names
    activation: Literal["sigmoid", "softmax"] = "sigmoid"  # what turns a network's logits into planes
    is_semantic: bool = False  # labels are classes of pixels instead of instances

    @property
    def pixel_classes(self) -> tuple[str, ...]:
        """The classes by which pixels are scored."""
        return self.classes if self.is_semantic else OF_MASKS

    def encode(self, labels: ArrayLike, border: BorderSettings) -> Planes:
        """Turn labels into planes of 0 and 1."""
        if self.is_semantic:
            return self._encode_classes(labels)
        labels, highest = check_dense_labels(labels)
        inside = labels > 0
        drawn = {"mask": inside, "background": ~inside}
        if "border" in self.planes:
            edge = keep_one_seed_pixel(labels, mark_border(labels, border), highest)
            if "mask" not in self.planes:
                edge &= inside
            drawn |= {"interior": inside & ~edge, "border": edge}
        return np.stack([drawn[name] for name in self.planes], dtype=np.float32)

    def decode(self, planes: ArrayLike, settings: DecodeSettings, *, min_area_px: int = 0) -> Labels:
        """Turn planes into labels."""
        planes = self.check_planes(planes).astype(np.float32, copy=False)
        if self.is_semantic:  # the first of equals
            return np.asarray(planes.argmax(axis=0), dtype=np.int32)
        inside = planes[0] if self.planes[0] == "mask" else None  # interior and border are its parts
        border = planes[1] if "border" in self.planes else None
        return decode_instances(inside, planes[0], border, settings, min_area_px=min_area_px)

    def check_planes(self, planes: ArrayLike) -> NDArray[Any]:
        """Check that an array can be read as planes of this codec; return it."""
        array = np.asarray(planes)
        if array.dtype.kind not in "fb":
            raise DataError(f"planes of dtype {array.dtype}; expected probabilities, 0 to 1, in floating point")
        if array.ndim != 3 or len(array) != len(self.planes):
            wanted = f"{', '.join(self.planes)} of codec {self.name}: ({len(self.planes)}, H, W)"
            raise DataError(f"planes of shape {array.shape}; expected {wanted}")
        return array

    def find_mask(self, planes: Planes, settings: DecodeSettings) -> Mask:
        """Mark the pixels of all instances, before any instance is dropped."""
        return self.decode(planes, settings.model_copy(update={"single_object": True})) > 0

    def classify(self, planes: Planes) -> NDArray[np.uint8]:
        """Return the index of every pixel's class, uint8 (H, W); border pixels have no other class."""
        if self.is_semantic:
            return np.asarray(planes.argmax(axis=0), dtype=np.uint8)
        background = np.uint8(len(self.classes) - 1)
        classes: NDArray[np.uint8] = (planes[0] <= 0.5) * background
        if "border" in self.planes:
            classes[planes[1] > 0.5] = 1
        return classes

    def _encode_classes(self, labels: ArrayLike) -> Planes:
        labels, highest = check_labels(labels, "classes")
        if highest >= len(self.classes):
            unknown = sorted(set(np.unique(labels[labels >= len(self.classes)]).tolist()) - {IGNORED_CLASS})
            if unknown:
                named = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes))
                raise DataError(f"labels hold {', '.join(map(str, unknown[:5]))}; expected the classes {named}")
        return np.stack([labels == number for number in range(len(self.classes))], dtype=np.float32)


CODECS: dict[CodecName, Codec] = {
    codec.name: codec
    for codec in (
        Codec("mask", ("mask",), ("mask", "background")),
        Codec("mask_border", ("mask", "border"), ("mask", "border", "background")),
        Codec("interior_border", ("interior", "border"), ("interior", "border", "background")),
        Codec(
            "interior_border_background",
            ("interior", "border", "background"),
            ("interior", "border", "background"),
            "softmax",
        ),
    )
}


def get_codec(name: str | Codec | CodecSettings, classes: Sequence[str] = ()) -> Codec:
    """Return the codec with a given name.

    Parameters
    ----------
    name : str, Codec or CodecSettings
        ``"mask"``, ``"mask_border"``, ``"interior_border"``, ``"interior_border_background"`` or ``"classes"``. A codec
        is returned as it is, and a config's section `codec` has all that is needed.
    classes : sequence of str
        For ``"classes"`` only: the names of the classes 0…K−1.

    Returns
    -------
    Codec
        Its `planes`, `classes` and `activation`, with `encode` and `decode`.

    Raises
    ------
    ConfigError
        If the codec is unknown (the message lists all), or ``"classes"`` has not 2 to 254 different names.

    Examples
    --------
    >>> get_codec("mask_border").planes
    ('mask', 'border')
    >>> codec = get_codec("classes", ["soil", "water"])
    >>> encode_targets(np.array([[0, 1, 1, 255]]), codec)  # 255 is ignored
    array([[[1., 0., 0., 0.]],
           [[0., 1., 1., 0.]]], dtype=float32)
    """
    if isinstance(name, Codec):
        return name
    if isinstance(name, CodecSettings):
        return get_codec(name.name, name.classes or ())
    if name == "classes":
        if len(set(classes)) != len(classes) or not 2 <= len(classes) < IGNORED_CLASS:
            raise ConfigError(f"the codec classes needs the names of 2 to 254 different classes, not {list(classes)}")
        return Codec("classes", tuple(classes), tuple(classes), "softmax", is_semantic=True)
    if name in list(CODECS):  # whatever it is, hashable or not
        return CODECS[name]
    raise ConfigError(f"unknown codec {name!r}; choose from {', '.join(CODECS)}, classes")


def encode_targets(
    labels: ArrayLike,
    codec: CodecName | Codec = "interior_border_background",
    *,
    rule: BorderRule = "touching",
    radius_px: int | Literal["by_size"] = 1,
) -> Planes:
    """Turn labels into the planes that a network learns.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances, 0 is background; classes for the codec ``"classes"``.
    codec : str or Codec, default: "interior_border_background"
        The codec: a name, or what `get_codec` returns.
    rule : {"touching", "contour"}
        Which pixels are border, see `border`.
    radius_px : int or "by_size"
        Half the side of the border's window, 1 to 32 px.

    Returns
    -------
    float32 array, shape (C, H, W)
        Planes of 0 and 1, in the order of the codec's name. Every instance keeps at least one pixel without border, so
        that `decode_planes` finds it again.

    Raises
    ------
    DataError
        If the array is not labels.
    ConfigError
        If the codec or the border is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> encode_targets(np.array([[1, 1, 2, 2, 0]]), codec="interior_border")
    array([[[1., 0., 0., 1., 0.]],
           [[0., 1., 1., 0., 0.]]], dtype=float32)
    """
    return get_codec(codec).encode(labels, BorderSettings(rule=rule, radius_px=radius_px))


def decode_planes(
    planes: ArrayLike,
    codec: CodecName | Codec = "interior_border_background",
    settings: DecodeSettings | Mapping[str, Any] | None = None,
    *,
    min_area_px: int = 0,
) -> Labels:
    """Turn planes of probabilities into labels.

    Parameters
    ----------
    planes : floating array, shape (C, H, W)
        Predictions of a network, 0 to 1, in the order of the codec's planes.
    codec : str or Codec, default: "interior_border_background"
        The codec that the network was trained with: a name, or what `get_codec` returns.
    settings : DecodeSettings or mapping, optional
        Thresholds; all are 1/2 by default.
    min_area_px : int, default: 0
        Instances with fewer pixels are left out.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n, in raster order of their first pixels; for ``"classes"`` every pixel's most probable class.

    Raises
    ------
    ConfigError
        If the codec or a setting is unknown.
    DataError
        If the planes are not floating, or their number is not the codec's.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 1, 2, 2, 0]])
    >>> decode_planes(encode_targets(labels, "mask_border"), "mask_border")
    array([[1, 1, 2, 2, 0]], dtype=int32)
    """
    return get_codec(codec).decode(planes, DecodeSettings.of(settings), min_area_px=min_area_px)
