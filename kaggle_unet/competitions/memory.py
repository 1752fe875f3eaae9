"""Arrays in memory instead of files: any array as an image, any samples as a source."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import DataError
from kaggle_unet.io.images import classify_kind, drop_alpha, to_image
from kaggle_unet.masks.labels import check_labels, check_mask, relabel
from kaggle_unet.types import DataIssue, Image, Sample, Shape


def convert_array(pixels: NDArray[Any], where: str = "the image", *, keep_channels: bool = False) -> Image:
    """Convert an array as `to_image` converts pixels of files; the last of two or four channels is alpha, or kept."""
    pixels = np.asarray(pixels)
    if pixels.size == 0:
        raise DataError(f"{where} has no pixels (its shape is {pixels.shape}); expected (H, W), or (H, W, C)")
    if pixels.ndim not in {2, 3} or pixels.dtype.kind not in "biuf":
        msg = f"{where} is {pixels.dtype} of shape {pixels.shape}; expected numbers of shape (H, W) or (H, W, C)"
        raise DataError(msg)
    return to_image(pixels if keep_channels else drop_alpha(pixels)[0], where)[0]


@dataclass(frozen=True)
class MemorySource:
    """Samples in memory, as the `Source` of a store."""

    samples: Mapping[str, Sample]
    data_issues: tuple[DataIssue, ...] = ()

    @classmethod
    def of(cls, samples: Iterable[Sample], *, keep_channels: bool = False, classes: bool = False) -> "MemorySource":
        """Check samples and convert their images and labels, of instances or `classes`, to what a store keeps."""
        found: dict[str, Sample] = {}
        for sample in samples:
            where = f"sample {sample.id!r}"
            if not isinstance(sample.id, str):
                raise DataError(f"{where}: the id is {type(sample.id).__name__}; expected text like {str(sample.id)!r}")
            if sample.id in found:
                raise DataError(f"{where} occurs twice; every sample needs its own id")
            image = convert_array(sample.image, f"{where}: the image", keep_channels=keep_channels)
            shape, labels, ignore = (image.shape[0], image.shape[1]), sample.labels, sample.ignore
            if labels is not None:
                labels, _ = check_labels(labels, f"{where}: labels", shape)
                labels = labels if classes else relabel(labels)
            ignore = None if ignore is None else check_mask(ignore, f"{where}: ignore", shape)
            kind = sample.kind or classify_kind(image)
            found[sample.id] = replace(sample, image=image, labels=labels, ignore=ignore, kind=kind)
        return cls(found)

    def __str__(self) -> str:
        return "samples in memory"

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        return tuple(sorted(self.samples))

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """What else is known about the samples, by id."""
        return {id_: sample.numbers for id_, sample in self.samples.items()}

    def load(self, sample_id: str) -> Sample:
        """Return one sample."""
        return self.samples[sample_id]

    def shape(self, sample_id: str) -> Shape:
        """Return an image's height and width."""
        height, width = self.samples[sample_id].image.shape[:2]
        return height, width

    def fingerprint(self) -> str:
        """Hash the arrays of all samples and what else is known about them."""
        digest = hashlib.sha256()
        for id_ in self.ids:
            sample = self.samples[id_]
            for part in (sample.image, sample.labels, sample.ignore):
                digest.update(repr((id_, None if part is None else (part.shape, part.dtype.str))).encode())
                digest.update(b"" if part is None else part.tobytes())
            digest.update(repr((sample.kind, sorted(sample.numbers.items()))).encode())
        return digest.hexdigest()
