"""Datasets: random crops for training, whole images for validation.

A training item is addressed by (epoch, index), and everything random about it follows from the seed, the epoch and the
index, so an epoch is the same for any number of workers, no epoch repeats another, and resuming changes nothing.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kaggle_unet.data.augment import CachedSample, augment, labels_of, stable_seed
from kaggle_unet.data.batch import PADDING_ID, Batch, Item, PadSpec, Slices, collate, pad_item, padded_shape
from kaggle_unet.data.device_intensity import describe
from kaggle_unet.data.folds import coverage_class, draw_samples
from kaggle_unet.data.inputs import prepare
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import relabel
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.targets.weights import encode_with_weights
from kaggle_unet.types import Planes, Sample, Weights


class ItemKey(NamedTuple):
    """The address of a crop; one that does not count keeps a process without samples in step with the others."""

    epoch: int
    item: int
    counts: bool = True


class TrainingSet(Dataset[Item]):
    """Augmented crops of samples."""

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        inputs: InputSettings,
        codec: CodecSettings,
        weights: WeightSettings,
        augmentation: AugmentationSettings,
        pad_spec: PadSpec,
        seed: int,
    ) -> None:
        self.inputs = inputs
        self._codec, self._weights = codec, weights
        self.pad_spec = pad_spec
        self.seed = seed
        self.cached_samples = [CachedSample.of(sample, inputs, semantic=codec.name == "classes") for sample in samples]
        self.augmentation = augmentation
        if augmentation.crop_px is not None:
            side, _ = padded_shape((augmentation.crop_px, augmentation.crop_px), pad_spec)
            self.augmentation = augmentation.model_copy(update={"crop_px": side})
        self._strata: list[str] | None = None
        if augmentation.sampling == "kind":
            self._strata = [sample.kind for sample in samples]
        elif augmentation.sampling == "coverage":
            self._strata = [coverage_class(labels_of(sample), semantic=codec.name == "classes") for sample in samples]
        self._drawn: tuple[int, NDArray[np.intp]] | None = None
        self._for_device = False

    def for_device(self) -> "TrainingSet":
        """Return a copy whose items are crops that `render_inputs` still has to turn into inputs."""
        items = copy.copy(self)
        items._for_device = True
        return items

    def __len__(self) -> int:
        """Count the crops of one epoch."""
        return self.augmentation.crops_per_epoch or len(self.cached_samples) * self.augmentation.crops_per_image

    def __getitem__(self, key: tuple[int, int] | ItemKey) -> Item:
        """Draw one crop."""
        epoch, index, counts = ItemKey(*key)
        seed, settings = stable_seed(self.seed, epoch, index), self.inputs
        number = index % len(self.cached_samples)
        if self._strata is not None or self.augmentation.crops_per_epoch is not None:
            if self._drawn is None or self._drawn[0] != epoch:
                self._drawn = epoch, self._draw_epoch(epoch)
            number = int(self._drawn[1][index])
        cached = self.cached_samples[number]
        crop = augment(cached, self.augmentation, seed=seed, leave_levels=self._for_device)
        labels = crop.labels if self._codec.name == "classes" else relabel(crop.labels)
        planes, weights = encode_with_weights(labels, self._codec, self._weights, crop.ignore)
        inputs, recipe = (
            describe(crop, settings, depth=cached.depth, seed=seed)
            if self._for_device
            else (prepare(crop.image, settings, depth=cached.depth, intensity_range=crop.intensity_range), None)
        )
        item = Item(inputs, planes, weights, cached.id, recipe)
        if self.augmentation.crop_px is None:
            item, _ = pad_item(item, padded_shape(weights.shape, self.pad_spec))
        return item if counts else item._replace(weights=np.zeros_like(item.weights), id=PADDING_ID)

    def _draw_epoch(self, epoch: int) -> NDArray[np.intp]:
        """Choose the sample of every index: by strata, or in passes over all samples that run on across epochs."""
        if self._strata is not None:
            strength = self.augmentation.sampling_strength
            return draw_samples(self._strata, len(self), strength=strength, seed=stable_seed(self.seed, epoch))
        n_samples, first = len(self.cached_samples), (epoch - 1) * len(self)
        passes = range(first // n_samples, (first + len(self) - 1) // n_samples + 1)
        order = [np.random.default_rng(stable_seed(self.seed, -1, number)).permutation(n_samples) for number in passes]
        start = first % n_samples
        return np.concatenate(order)[start : start + len(self)]


class ValidationSet:
    """Whole images with the planes and weights of the store."""

    def __init__(
        self,
        samples: Sequence[Sample],
        read_targets: Callable[[str], tuple[Planes, Weights]],
        *,
        inputs: InputSettings,
        pad_spec: PadSpec,
        batch: int,
    ) -> None:
        if not samples:
            raise DataError("the validation set is empty; choose another fold, or fewer folds (folds.n)")
        self._samples = sorted(samples, key=lambda sample: sample.id)
        self._shapes = [padded_shape(labels_of(sample).shape, pad_spec) for sample in self._samples]
        self._read_targets = read_targets
        self._inputs = inputs
        self._batch = batch

    def __len__(self) -> int:
        """Count the images."""
        return len(self._samples)

    def batches(self) -> Iterator[tuple[Batch, list[Slices], list[Sample]]]:
        """Iterate over all images once, in batches of one padded size, with each image's slices inside its padding."""
        groups: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        for sample, shape in zip(self._samples, self._shapes, strict=True):
            groups[shape].append(sample)
        for shape, samples in sorted(groups.items(), key=lambda group: group[0]):
            for start in range(0, len(samples), self._batch):
                some = samples[start : start + self._batch]
                items, slices = zip(*(pad_item(self._item(sample), shape) for sample in some), strict=True)
                yield collate(items), list(slices), some

    def _item(self, sample: Sample) -> Item:
        planes, weights = self._read_targets(sample.id)
        return Item(prepare(sample.image, self._inputs, depth=sample.numbers.get("depth")), planes, weights, sample.id)
