"""How good a network is: loss, and the competition's own score of the labels its planes decode to."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kaggle_unet.data.dataset import ValidationSet, WholeBatch
from kaggle_unet.data.padding import crop
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.postprocess.finish import labels_from_planes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.training.loop import Loss
from kaggle_unet.types import Labels

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ValidationResult:
    """What one validation found.

    Attributes
    ----------
    loss : float
        Mean over images.
    score : float
        Mean over images of the competition's metric.
    scores : mapping of str to float
        Each image's, by id.
    """

    loss: float
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Finish:
    """How planes become a score.

    Attributes
    ----------
    codec : Codec
        What the planes mean.
    decode : DecodeSettings
        How they become labels.
    postprocess : PostprocessSettings
        How labels are cleaned.
    metric : callable
        Takes true and predicted labels.
    """

    codec: Codec
    decode: DecodeSettings
    postprocess: PostprocessSettings
    metric: Callable[[Labels, Labels], ImageScore]


def validate(predict: Predict, validation_set: ValidationSet, *, loss: Loss, finish: Finish) -> ValidationResult:
    """Judge a network on whole images.

    Parameters
    ----------
    predict : callable
        Gives logits (B, C, H', W') of inputs (B, channels, H, W); of a network without padding H' and W' are smaller.
    validation_set : ValidationSet
        The images.
    loss : callable
        The training's; the padding's weights are 0.
    finish : Finish
        From planes to a score.

    Returns
    -------
    result : ValidationResult
        Flips and folds are not averaged here: this is the network alone.
    """
    losses, scores = [], {}
    with torch.inference_mode():
        for whole in validation_set.batches():
            batch = whole.batch
            logits = predict(batch.inputs)
            value, _ = loss(logits, batch.planes.to(logits.device), batch.weights.to(logits.device))
            losses += [float(value)] * len(batch.ids)
            scores.update(_score(logits, whole, finish))
    n_images = len(validation_set)
    return ValidationResult(math.fsum(losses) / n_images, math.fsum(scores.values()) / n_images, scores)


def _score(logits: Tensor, whole: WholeBatch, finish: Finish) -> dict[str, float]:
    probs = logits.float().softmax(1) if finish.codec.activation == "softmax" else logits.float().sigmoid()
    margin_y, margin_x = ((whole.batch.inputs.shape[axis] - logits.shape[axis]) // 2 for axis in (-2, -1))
    scores = {}
    for id_, planes, slices, truth in zip(
        whole.batch.ids, probs.cpu().numpy(), whole.slices, whole.labels, strict=True
    ):
        inside = crop(planes, (_shift(slices[0], margin_y), _shift(slices[1], margin_x)))
        labels = labels_from_planes(finish.codec, inside, finish.decode, finish.postprocess)
        scores[id_] = finish.metric(truth, labels).mean
    return scores


def _shift(stretch: slice, margin: int) -> slice:
    return slice(stretch.start - margin, stretch.stop - margin)
