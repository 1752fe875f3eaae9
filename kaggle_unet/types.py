"""The project's words, once each.

===========  ======================================================================================
``image``    uint8, (H, W) when gray, (H, W, 3) RGB otherwise
``labels``   int32, (H, W); 0 is background, 1…n the instances, consecutive
``mask``     bool, (H, W)
``planes``   float32, (C, H, W); targets in {0, 1} or predicted probabilities, in the codec's order
``weights``  float32, (H, W); what the cross-entropy is multiplied with, 0 = does not count
``inputs``   float32, (C, H, W); what a network is given for one image
``logits``   float32, (B, C, H, W); what a network gives before its activation
``overlap``  a record of two labels: areas of the instances, and the pixels of every pair that shares any
``sample``   one image with all that is known about it; ``fold`` its part; ``run`` a training's folder
===========  ======================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Planes = NDArray[np.float32]
HalfPlanes = NDArray[np.float16]
Weights = NDArray[np.float32]
Inputs = NDArray[np.float32]


class Settings(BaseModel):
    """Base of every settings record: frozen, no unknown keys, no infinite numbers, no silent casts from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


@dataclass(frozen=True, eq=False)
class Overlap:
    """How the instances of two labels of one image lie over each other; background is no instance.

    Attributes
    ----------
    areas_true_px, areas_pred_px : int64 array, shape (n_true,) and (n_pred,)
        Pixels of every instance.
    true, pred : int64 array, shape (n_pairs,)
        The pairs that share pixels, as indices of the areas, sorted by `true`, then `pred`.
    shared_px : int64 array, shape (n_pairs,)
        Pixels in both instances of a pair, at least 1.
    """

    areas_true_px: NDArray[np.int64]
    areas_pred_px: NDArray[np.int64]
    true: NDArray[np.int64]
    pred: NDArray[np.int64]
    shared_px: NDArray[np.int64]

    @property
    def n_true(self) -> int:
        """Number of true instances."""
        return self.areas_true_px.size

    @property
    def n_pred(self) -> int:
        """Number of predicted instances."""
        return self.areas_pred_px.size

    @property
    def union_px(self) -> NDArray[np.int64]:
        """int64 array, shape (n_pairs,): pixels in either instance of a pair."""
        return self.areas_true_px[self.true] + self.areas_pred_px[self.pred] - self.shared_px


@dataclass(frozen=True)
class DataIssue:
    """Something about one sample that a person should know.

    Attributes
    ----------
    sample : str
        The sample's id.
    what : str
        Kind of oddity, the same text for the same kind: ``"overlapping masks"``.
    count : int
        How many pixels, objects or files.
    done : str
        What was done about it.
    """

    sample: str
    what: str
    count: int
    done: str


@dataclass(frozen=True)
class Sample:
    """One image and all that is known about it.

    Attributes
    ----------
    id : str
        The competition's id, always text.
    image : uint8 array, shape (H, W) or (H, W, 3)
        Gray where all channels are equal, RGB otherwise.
    labels : int32 array, shape (H, W), or None
        None where no masks are known (test images).
    kind : str
        Image type, for strata and reports: ``"gray-dark"``, ``"gray-bright"``, ``"colour"``, …
    ignore : bool array, shape (H, W), or None
        Pixels that must not count in the loss.
    numbers : mapping of str to float
        What else is known, such as ``{"depth": 306.0}``.
    oddities : tuple of Oddity
        What was found and done while reading.
    """

    id: str
    image: Image
    labels: Labels | None = None
    kind: str = ""
    ignore: Mask | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    data_issues: tuple[DataIssue, ...] = ()
