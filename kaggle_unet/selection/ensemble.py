"""Ensemble averaging of planes that were predicted separately, without torch."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import numpy as np
from scipy.special import expit, logit, softmax

from kaggle_unet.types import HalfPlanes, Planes

# The least that half precision can tell from 0 and, for sigmoid planes, also from 1.
_LEAST = {"sigmoid": np.float32(2.0**-12), "softmax": np.float32(2.0**-24)}


def average_probabilities(
    members: Sequence[Planes | HalfPlanes],
    weights: Sequence[float],
    *,
    mean: Literal["arithmetic", "geometric"] = "arithmetic",
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
) -> Planes:
    """Average the probabilities (C, H, W) of several networks, with weights that need not add up to 1.

    Apart from the planes' rounding, the arithmetic mean equals that of networks that predict together. The geometric
    mean is normalised to add up to 1; that of sigmoid planes clips probabilities to 1/4096 from 0 and 1, the least that
    half precision can tell at both ends, so a surer network counts less than in `kaggle_unet.inference.predict`.

    >>> sure, torn = np.float32([[[0.99]]]), np.float32([[[0.2]]])
    >>> average_probabilities([sure, torn], [1, 3]).round(3)
    array([[[0.398]]], dtype=float32)
    >>> average_probabilities([sure, torn], [1, 3], mean="geometric").round(3)
    array([[[0.527]]], dtype=float32)
    """
    counted = [
        (float(weight) / float(sum(weights)), planes.astype(np.float32))
        for weight, planes in zip(weights, members, strict=True)
        if weight > 0
    ]
    if mean == "arithmetic":
        return _add_up(counted)
    least = _LEAST[activation]
    counted = [(weight, planes.clip(least, 1 - least)) for weight, planes in counted]
    if activation == "sigmoid":
        mixed: Planes = expit(_add_up([(weight, logit(planes)) for weight, planes in counted]))
    else:
        mixed = softmax(_add_up([(weight, np.log(planes)) for weight, planes in counted]), axis=0)
    return mixed


def _add_up(counted: Sequence[tuple[float, Planes]]) -> Planes:
    total: Planes = reduce(np.add, (weight * planes for weight, planes in counted))
    return total
