"""StarDist by its notebook (examples/2D/2_training.ipynb): its network, augmentation and epochs of 100 steps.

Of its 400 epochs as many as the time allows; the plateau that halves the rate, 40 of 400 epochs, is cut alike.
"""

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from csbdeep.utils import normalize
from stages import Part, remaining_s, run
from stardist import fill_label_holes
from stardist.models import Config2D, StarDist2D

GENERATOR = np.random.default_rng(1)
STEPS = 100


def prepare(images: list[Any]) -> list[Any]:
    """Stretch intensities as the notebook does."""
    return [normalize(image, 1, 99.8, axis=(0, 1)) for image in images]


def augment(image: Any, labels: Any) -> tuple[Any, Any]:
    """Flip, turn, and change intensities as the notebook does."""
    axes = tuple(GENERATOR.permutation(2))
    image, labels = image.transpose(axes), labels.transpose(axes)
    for axis in (0, 1):
        if GENERATOR.random() > 0.5:
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    image = image * GENERATOR.uniform(0.6, 2) + GENERATOR.uniform(-0.2, 0.2)
    return image + 0.02 * GENERATOR.uniform(0, 1) * GENERATOR.normal(0, 1, image.shape), labels


def create(epochs: int, folder: Path | None) -> Any:
    """Create the notebook's network, with its patience cut as its epochs are."""
    plateau = {"factor": 0.5, "patience": max(1, epochs // 10), "min_delta": 0}
    settings = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=1,
        train_patch_size=(256, 256),
        train_reduce_lr=plateau,
        train_tensorboard=False,
    )
    return StarDist2D(settings, name="model", basedir=folder and str(folder))


def train(part: Part, validation: Part, work: Path, seconds: float) -> dict[str, int]:
    """Measure a step and a validation on a network that is thrown away, then train for as many epochs as fit."""
    images, labels = prepare(part[0]), [fill_label_holes(one) for one in part[1]]
    watched = (prepare(validation[0]), [fill_label_holes(one) for one in validation[1]])
    trial, spent = create(400, None), []
    for steps in (1, 1, 6):
        start = process_time()
        trial.train(images, labels, validation_data=watched, augmenter=augment, epochs=1, steps_per_epoch=steps)
        spent.append(process_time() - start)
    step_s = (spent[2] - spent[1]) / 5
    validation_s, starting_s = spent[1] - step_s, spent[0] - spent[1]
    left = remaining_s(seconds) - starting_s
    epochs = max(1, round(left / (STEPS * step_s + validation_s)))
    steps = max(1, int((left / epochs - validation_s) / step_s))
    model = create(epochs, work)
    model.train(images, labels, validation_data=watched, augmenter=augment, epochs=epochs, steps_per_epoch=steps)
    return {"steps": epochs * steps, "crops": epochs * steps * model.config.train_batch_size, "side_px": 256}


def tune(validation: Part, work: Path) -> None:
    """Search the two thresholds as the notebook does, and keep them beside the weights."""
    StarDist2D(None, name="model", basedir=str(work)).optimize_thresholds(prepare(validation[0]), validation[1])


def predict(images: list[Any], work: Path) -> list[Any]:
    """Find the nuclei of each image."""
    model = StarDist2D(None, name="model", basedir=str(work))
    return [model.predict_instances(image)[0] for image in prepare(images)]


run(train, predict, tune)
