"""One sample as training keeps it: small, with what every crop of it asks for again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from kaggle_unet.data.inputs import Levels, find_levels
from kaggle_unet.data.settings import InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.types import Image, Labels, Mask, Sample


@dataclass(frozen=True, eq=False)
class Scene:
    """What crops are cut from."""

    id: str
    image: Image
    labels: NDArray[Any]
    ignore: Mask | None
    depth: float | None
    levels: Levels
    middles_yx: NDArray[np.float32]

    @classmethod
    def of(cls, sample: Sample, inputs: InputSettings) -> "Scene":
        """Take from a sample what training needs."""
        labels = truth(sample)
        return cls(
            id=sample.id,
            image=sample.image,
            labels=labels.astype(np.uint16) if labels.max(initial=0) < 1 << 16 else labels,
            ignore=sample.ignore,
            depth=sample.numbers.get("depth"),
            levels=find_levels(sample.image, inputs),
            middles_yx=_middles(labels),
        )


def truth(sample: Sample) -> Labels:
    """Give a sample's labels."""
    if sample.labels is None:
        msg = f"sample {sample.id!r} has no labels; training and validation need them, leave it out"
        raise DataError(msg)
    return sample.labels


def _middles(labels: Labels) -> NDArray[np.float32]:
    boxes = [box for box in scipy.ndimage.find_objects(labels) if box is not None]
    middles = [[(side.start + side.stop) / 2 for side in box] for box in boxes]
    return np.array(middles, np.float32).reshape(-1, 2)
