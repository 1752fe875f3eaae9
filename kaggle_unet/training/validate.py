"""How good a network is: loss, and the competition's own score of the labels its planes decode to.

The loss is the training's without deep supervision: of the logits before the empty head's gate, with that head's own
term. The score is of what would be predicted, behind the gate.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kaggle_unet.data.batch import Batch, crop
from kaggle_unet.data.dataset import ValidationSet, WholeBatch
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.models.heads import Outputs
from kaggle_unet.postprocess.clean import PostprocessSettings
from kaggle_unet.postprocess.decoder import find_labels
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.training.failures import TrainingFailure, name_samples
from kaggle_unet.training.step import Loss
from kaggle_unet.types import Labels

Predict = Callable[[Tensor], Tensor | Outputs]


@dataclass(frozen=True)
class ValidationResult:
    """What one validation found."""

    loss: float
    score: float
    scores: Mapping[str, float]
    true_objects: int = 0
    predicted_objects: int = 0
    batch: Batch | None = None

    @property
    def is_blank(self) -> bool:
        """Whether nothing was found although there is something."""
        return self.true_objects > 0 and self.predicted_objects == 0


@dataclass(frozen=True)
class Finish:
    """How planes become a score."""

    codec: Codec
    decode: DecodeSettings
    postprocess: PostprocessSettings
    metric: Callable[[Labels, Labels], ImageScore]


def validate(predict: Predict, validation_set: ValidationSet, *, loss: Loss, finish: Finish) -> ValidationResult:
    """Judge a network on whole images."""
    tally = _Tally()
    with torch.inference_mode():
        for whole in validation_set.batches():
            batch = whole.batch
            said = predict(batch.inputs)
            logits = said if isinstance(said, Tensor) else said.predicted
            value = float(loss(said, batch.planes.to(logits.device), batch.weights.to(logits.device))[0])
            if not math.isfinite(value):
                msg = f"the validation loss is {value} on the samples {name_samples(batch.ids)}"
                raise TrainingFailure(msg, batch)
            tally.add(value, whole, _find_labels(logits, whole, finish), finish)
    return tally.result()


class _Tally:
    """What has been found so far."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._scores: dict[str, float] = {}
        self._n_true = self._n_predicted = 0
        self._batch: Batch | None = None

    def add(self, loss: float, whole: WholeBatch, found: Sequence[Labels], finish: Finish) -> None:
        self._batch = self._batch or whole.batch
        self._losses += [loss] * len(found)
        for id_, truth, labels in zip(whole.batch.ids, whole.labels, found, strict=True):
            self._scores[id_] = finish.metric(truth, labels).mean
            self._n_true += int(truth.max(initial=0))
            self._n_predicted += int(labels.max(initial=0))

    def result(self) -> ValidationResult:
        n_images = len(self._scores)
        result = ValidationResult(
            math.fsum(self._losses) / n_images,
            math.fsum(self._scores.values()) / n_images,
            self._scores,
            self._n_true,
            self._n_predicted,
        )
        return replace(result, batch=self._batch) if result.is_blank else result


def merge(results: Sequence[ValidationResult]) -> ValidationResult:
    """Put together what several processes found, each on its share of the images.

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
        next((result.batch for result in results if result.batch), None),  # looked at only if none has found anything
    )


def _find_labels(logits: Tensor, whole: WholeBatch, finish: Finish) -> list[Labels]:
    probs = logits.float().softmax(1) if finish.codec.activation == "softmax" else logits.float().sigmoid()
    margin_y, margin_x = ((whole.batch.inputs.shape[axis] - logits.shape[axis]) // 2 for axis in (-2, -1))
    found = []
    for planes, slices, image in zip(probs.cpu().numpy(), whole.slices, whole.images, strict=True):
        inside = crop(planes, (_shift(slices[0], margin_y), _shift(slices[1], margin_x)))
        found.append(find_labels(finish.codec, inside, image, finish.decode, finish.postprocess))
    return found


def _shift(stretch: slice, margin: int) -> slice:
    return slice(stretch.start - margin, stretch.stop - margin)
