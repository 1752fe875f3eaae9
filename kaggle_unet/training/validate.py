"""Validation: the loss, and the competition's score of the labels decoded from a network's planes.

The loss is the training loss without deep supervision, computed from the logits before the empty head suppresses any;
the score is that of the predictions after it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_unet.data.augment import labels_of
from kaggle_unet.data.batch import Batch, crop
from kaggle_unet.data.dataset import ValidationSet
from kaggle_unet.metrics.pixels import OF_MASKS, ClassScore, count_confusion, tabulate_pixels
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.models.heads import Outputs, select_outputs
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.training.failures import TrainingFailure, name_samples
from kaggle_unet.training.step import Loss
from kaggle_unet.types import Labels, Planes

Predict = Callable[[Tensor], Tensor | Outputs]


@dataclass(frozen=True)
class ValidationResult:
    """Loss and scores of one validation."""

    loss: float
    score: float
    scores: Mapping[str, float]
    true_objects: int = 0
    predicted_objects: int = 0
    batch: Batch | None = None
    confusions: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)  # of pixels, by image
    classes: tuple[str, ...] = OF_MASKS

    @property
    def pixels(self) -> dict[str, float]:
        """Accuracy, IoU and Dice of the pixels."""
        return tabulate_pixels(list(self.confusions.values()), self.classes)[0] if self.confusions else {}

    @property
    def is_blank(self) -> bool:
        """Whether no object was predicted although there are some."""
        return self.true_objects > 0 and self.predicted_objects == 0


def validate(
    predict: Predict,
    validation_set: ValidationSet,
    *,
    loss: Loss,
    decoder: Decoder,
    metric: Callable[[Labels, Labels], ImageScore | ClassScore],
) -> ValidationResult:
    """Compute the loss and the score of a network on whole images."""
    losses: list[float] = []
    scores: dict[str, float] = {}
    confusions: dict[str, NDArray[np.int64]] = {}
    n_true = n_predicted = 0
    first: Batch | None = None
    with torch.no_grad():
        for batch, slices, samples in validation_set.batches():
            outputs = predict(batch.inputs)
            logits = outputs if isinstance(outputs, Tensor) else select_outputs(outputs, is_training=False)
            assert isinstance(logits, Tensor)
            value = float(loss(outputs, batch.planes.to(logits.device), batch.weights.to(logits.device))[0])
            if not math.isfinite(value):
                raise TrainingFailure(f"the validation loss is {value} on the samples {name_samples(batch.ids)}", batch)
            first = first or batch
            losses += [value] * len(batch.ids)
            margin = (batch.inputs.shape[-1] - logits.shape[-1]) // 2
            for sample, planes, inside in zip(samples, _to_planes(logits, decoder), slices, strict=True):
                true, pred = labels_of(sample), decoder(crop(planes, inside, margin), sample.image)
                scores[sample.id] = metric(true, pred).mean
                confusions[sample.id] = count_confusion(true, pred, decoder.codec.pixel_classes)
                if decoder.codec.is_semantic:  # pixels of all classes but the first
                    n_true += int(confusions[sample.id][1:].sum())
                    n_predicted += int(confusions[sample.id][:, 1:].sum())
                else:
                    n_true += int(true.max(initial=0))
                    n_predicted += int(pred.max(initial=0))
    means = math.fsum(losses) / len(scores), math.fsum(scores.values()) / len(scores)
    result = ValidationResult(*means, scores, n_true, n_predicted, None, confusions, decoder.codec.pixel_classes)
    return replace(result, batch=first) if result.is_blank else result


def merge(results: Sequence[ValidationResult]) -> ValidationResult:
    """Merge the results of several processes, each for its own images.

    >>> merge([ValidationResult(1.0, 0.5, {"a": 0.5}), ValidationResult(4.0, 1.0, {"b": 1.0, "c": 1.0})]).loss
    3.0
    """
    if len(results) == 1:
        return results[0]
    counts = [len(result.scores) for result in results]
    scores = {id_: score for result in results for id_, score in result.scores.items()}
    return ValidationResult(
        math.fsum(result.loss * n for result, n in zip(results, counts, strict=True)) / sum(counts),
        math.fsum(scores.values()) / len(scores),
        scores,
        sum(result.true_objects for result in results),
        sum(result.predicted_objects for result in results),
        next((result.batch for result in results if result.batch), None),  # looked at only if no process found anything
        {id_: confusion for result in results for id_, confusion in result.confusions.items()},
        results[0].classes,
    )


def _to_planes(logits: Tensor, decoder: Decoder) -> Planes:
    probs = logits.float().softmax(1) if decoder.codec.activation == "softmax" else logits.float().sigmoid()
    planes: Planes = probs.cpu().numpy()
    return planes
