"""One epoch: forward, loss, backward, step, again."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import KitError
from kaggle_unet.training.faults import TrainingFault, explain_loss, explain_weights
from kaggle_unet.training.learner import Learner, StepResult


@dataclass(frozen=True)
class EpochMeans:
    """Means of an epoch over its samples."""

    loss: float
    parts: dict[str, float]
    images: int


def train_epoch(
    learner: Learner,
    batches: Iterable[Batch],
    *,
    rate: Callable[[int], float],
    epoch: int,
    on_step: Callable[[int, float, int], None],
    diverged_above: float = math.inf,
    usual_loss: float | None = None,
) -> EpochMeans:
    """Go through an epoch once."""
    learner.begin_epoch(epoch)
    sums: dict[str, float] = {}
    n_images = 0
    before: Batch | None = None
    for step, batch in enumerate(_alive(batches), 1):
        learner.set_rate(rate(step))
        highest = diverged_above * usual_loss if usual_loss and usual_loss > 0 else math.inf
        found = learner.learn(batch, highest=highest)
        if not found.has_moved:
            raise _fault(learner, found, f"epoch {epoch}, step {step}", (batch, before), highest)
        n_images += found.images
        for name, part in {"": found.loss, **found.parts}.items():
            sums[name] = sums.get(name, 0.0) + part * found.images
        on_step(step, found.loss, found.images)
        before, usual_loss = batch, found.loss if usual_loss is None else usual_loss
    assert n_images, "an epoch without samples"
    means = {name: total / n_images for name, total in sums.items()}
    return EpochMeans(means.pop(""), means, n_images)


def _fault(
    learner: Learner, found: StepResult, place: str, batches: tuple[Batch, Batch | None], highest: float
) -> TrainingFault:
    """Tell a bad batch from one whose gradients broke the weights a step before."""
    batch, before = batches
    if math.isfinite(found.loss) and found.loss <= highest:
        return TrainingFault(explain_weights(place, batch.ids), batch)
    if before is not None and not learner.is_finite():
        return TrainingFault(explain_weights(f"{place}, of the step before", before.ids), before)
    return TrainingFault(explain_loss(place, found.loss, found.parts, batch.ids, highest), batch)


def _alive(batches: Iterable[Batch]) -> Iterable[Batch]:
    """Turn torch's report of a dead worker into one that says what to do."""
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        msg = f"a process that prepares batches has died ({error}); often memory has run out: set training.workers to "
        msg += "fewer or 0, and go on with --resume"
        raise KitError(msg) from error
