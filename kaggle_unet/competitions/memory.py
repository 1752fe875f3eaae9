"""Arrays in memory instead of files: any array as an image, any samples as a source."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.io.images import classify_kind, to_image
from kaggle_unet.masks.labels import relabel
from kaggle_unet.types import DataIssue, Image, Sample


def convert_array(pixels: NDArray[Any], *, unit_floats: bool) -> Image:
    """Convert an array to 8 bits, as `to_image` does the pixels of a file.

    Floats are stretched from their own minimum and maximum, or, with `unit_floats`, must lie between 0 and 1.
    """
    pixels = np.asarray(pixels)
    if pixels.size == 0 or pixels.ndim < 2 or pixels.shape[2:] not in {(), (1,), (2,), (3,), (4,)}:
        raise DataError(f"the image has shape {pixels.shape}; expected (H, W), or (H, W, C) with 1 to 4 channels")
    if pixels.dtype.kind == "f":
        least, most = float(pixels.min()), float(pixels.max())
        if not np.isfinite([least, most]).all():
            raise DataError("the image has values that are not finite; replace them, such as with numpy.nan_to_num")
        low, high = (0.0, 1.0) if unit_floats else (least, most)
        if least < low or most > high:
            raise DataError(f"the image runs from {least:g} to {most:g}; expected 0 to 1, as input.normalize is range")
        pixels = np.round(np.subtract(pixels, low, dtype=np.float64) * (255 / (high - low or 1))).astype(np.uint8)
    image, notes = to_image(pixels, "the image")
    for note in notes:
        if note.kind.startswith("dark"):
            warnings.warn(f"{note.kind}: {note.action}, such as by .astype(numpy.float32)", stacklevel=2)
    return image


@dataclass(frozen=True)
class MemorySource:
    """Samples in memory, as the `Source` of a store."""

    samples: Mapping[str, Sample]
    data_issues: tuple[DataIssue, ...] = ()

    @classmethod
    def of(cls, samples: Iterable[Sample], *, unit_floats: bool) -> "MemorySource":
        """Check samples and convert their images and labels to what a store keeps."""
        found: dict[str, Sample] = {}
        for sample in samples:
            where = f"sample {sample.id!r}"
            if sample.id in found:
                raise DataError(f"{where} occurs twice; every sample needs its own id")
            image = convert_array(sample.image, unit_floats=unit_floats)
            for name, part in (("labels", sample.labels), ("ignore", sample.ignore)):
                if part is not None and part.shape != image.shape[:2]:
                    raise DataError(f"{where}: {name} of shape {part.shape} for an image of shape {image.shape[:2]}")
            labels = None if sample.labels is None else relabel(sample.labels)
            found[sample.id] = replace(sample, image=image, labels=labels, kind=sample.kind or classify_kind(image))
        return cls(found)

    def __str__(self) -> str:
        return "samples in memory"

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        return tuple(sorted(self.samples))

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """What else is known of the samples, by id."""
        return {id_: sample.numbers for id_, sample in self.samples.items()}

    def load(self, sample_id: str) -> Sample:
        """Return one sample."""
        return self.samples[sample_id]

    def shape(self, sample_id: str) -> tuple[int, int]:
        """Return an image's height and width."""
        height, width = self.samples[sample_id].image.shape[:2]
        return height, width

    def fingerprint(self) -> str:
        """Hash the arrays of all samples and what else is known of them."""
        digest = hashlib.sha256()
        for id_ in self.ids:
            sample = self.samples[id_]
            for part in (sample.image, sample.labels, sample.ignore):
                digest.update(repr((id_, None if part is None else (part.shape, part.dtype.str))).encode())
                digest.update(b"" if part is None else part.tobytes())
            digest.update(repr((sample.kind, sorted(sample.numbers.items()))).encode())
        return digest.hexdigest()
