"""Types of arrays and records; H and W are an image's height and width, C and B channels and batch.

A `fold` is a part of the samples, a `run` the folder of a training. What a network returns before its activation are
`logits`, a float32 tensor (B, C, H, W).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Image = NDArray[np.uint8]  # (H, W) where gray, else (H, W, 3), RGB
Labels = NDArray[np.int32]  # (H, W): 0 is background, 1…n are the instances
Mask = NDArray[np.bool_]  # (H, W)
Planes = NDArray[np.float32]  # (C, H, W): targets of 0 and 1, or probabilities, in the codec's order
HalfPlanes = NDArray[np.float16]  # (C, H, W): probabilities, as they are kept on disk
Weights = NDArray[np.float32]  # (H, W): factors of the cross-entropy; a pixel of 0 does not count
Inputs = NDArray[np.float32]  # (C, H, W): what a network is given for one image


class Settings(BaseModel):
    """Base of every settings record: frozen, no unknown keys, no infinite numbers, no silent casts from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


class Result(BaseModel):
    """Base of what verbs return: plain values, printed for people or written as JSON."""

    model_config = ConfigDict(frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Return the values by their keys in JSON; those that do not apply (None) are left out."""
        return {key: value for key, value in self.model_dump(by_alias=True).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Overlap:
    """Areas of the instances of two labels of one image, and of every pair that shares pixels; without background."""

    areas_true_px: NDArray[np.int64]  # (n_true,)
    areas_pred_px: NDArray[np.int64]  # (n_pred,)
    true: NDArray[np.int64]  # (n_pairs,): the pairs that share pixels, as indices of the areas, sorted
    pred: NDArray[np.int64]
    shared_px: NDArray[np.int64]  # (n_pairs,), at least 1

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
        """Pixels in either instance of a pair, shape (n_pairs,)."""
        return self.areas_true_px[self.true] + self.areas_pred_px[self.pred] - self.shared_px


@dataclass(frozen=True)
class DataIssue:
    """Something about one sample that a person should know, and what was done about it."""

    sample: str
    kind: str  # the same text for the same issue: "overlapping masks"
    count: int  # pixels, objects or files
    action: str


@dataclass(frozen=True)
class Sample:
    """An image and all that is known about it.

    Attributes
    ----------
    id : str
        The competition's id, or the file's name without its suffix.
    image : uint8 array, shape (H, W) or (H, W, 3)
        Gray where all channels are equal, RGB otherwise.
    labels : int32 array, shape (H, W), optional
        Instances 1…n, 0 is background; None where no masks are known (test images).
    kind : str
        Type of image, for strata and reports: ``"gray-dark"``, ``"gray-bright"``, ``"colour"``, …
    ignore : bool array, shape (H, W), optional
        Pixels that do not count in the loss.
    numbers : mapping of str to float
        What else is known, such as ``{"depth": 306.0}``.
    data_issues : tuple of DataIssue
        What was found and done while reading.

    Examples
    --------
    >>> sample = Sample("a1", np.zeros((4, 6), np.uint8))
    >>> sample.id, sample.image.shape, sample.labels
    ('a1', (4, 6), None)
    """

    id: str
    image: Image
    labels: Labels | None = None
    kind: str = ""
    ignore: Mask | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    data_issues: tuple[DataIssue, ...] = ()
