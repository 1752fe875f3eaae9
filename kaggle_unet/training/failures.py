"""Failures that end a training: their messages, and the batches they occurred on."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import KitError
from kaggle_unet.store import atomic_write

_MOST_IDS = 32


class TrainingFailure(KitError):  # noqa: N818  KitError has the suffix
    """A training that fails: a loss that is not finite or diverges, or a network that predicts no objects."""

    def __init__(self, message: str, batch: Batch | None = None) -> None:
        super().__init__(message)
        self.batch = batch


def save_batches(folder: Path, batches: Sequence[Batch | None]) -> str:
    """Save the batches of a failure, and return a sentence that names the files."""
    differing = {tuple(batch.ids): batch for batch in batches if batch is not None}
    places = []
    for number, batch in enumerate(differing.values()):
        places.append(folder / f"failed_batch{f'_{number}' if number else ''}.npz")
        fields = {name: field for name, field in batch._asdict().items() if field is not None}
        arrays = {key: field.numpy(force=True) if isinstance(field, Tensor) else field for key, field in fields.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        atomic_write(places[-1], buffer.getvalue())
    return f". The batch is kept in {', '.join(map(str, places))}" if places else ""


def name_samples(ids: Sequence[str]) -> str:
    """List the first 32 samples of a batch.

    >>> name_samples(["a", "b"])
    'a, b'
    """
    more = len(ids) - _MOST_IDS
    return ", ".join(ids[:_MOST_IDS]) + (f" and {more} more" if more > 0 else "")


def explain_loss(place: str, value: float, parts: Mapping[str, float], ids: Sequence[str], limit: float) -> str:
    """Compose the message for a loss that is not finite or too high."""
    terms = ", ".join(f"{name} {part:g}" for name, part in parts.items())
    what = f"the loss is {value:g} ({terms}) on the samples {name_samples(ids)}"
    if math.isfinite(value):
        what = f"the training diverges: {what}, above {limit:g}, training.diverged_above times what is usual"
    return (
        f"{place}: {what}; the checkpoints of earlier epochs are intact. Lower training.optimizer.learning_rate, set "
        "training.clip_norm, or try training.precision 32; if it is always the same sample, inspect it"
    )


def explain_weights(place: str, ids: Sequence[str]) -> str:
    """Compose the message for gradients that are not finite."""
    return (
        f"{place}: the loss was finite, but the gradients were not, on the samples {name_samples(ids)}; the "
        "checkpoints of earlier epochs are intact. Lower training.optimizer.learning_rate, or try training.precision 32"
    )


def explain_validation(epoch: int, what: str) -> str:
    """Compose the message for a validation loss that is not finite."""
    return (
        f"epoch {epoch}: {what} although the training loss is finite; the checkpoints of earlier epochs are intact. "
        "Lower training.optimizer.learning_rate, or try training.precision 32"
    )


def explain_blank(epoch: int, n_images: int, n_objects: int) -> str:
    """Compose the message for a network that predicts no objects."""
    return (
        f"epoch {epoch}: the network finds no object in any of {n_images} validation samples, which hold {n_objects}; "
        "look at the planes: if they are faint, lower decode.seed_threshold and decode.mask_threshold or train longer; "
        "if they are empty, raise loss.dice, or lower training.optimizer.learning_rate"
    )
