"""Time budgets of `submit`: if the measured speed is too low, fewer views, then fewer networks, then empty images.

What is left out, and in which order, is fixed; the clock decides when, before each batch. With enough time, every image
is predicted in full, in the same batches as without a budget, so the CSV is the same.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from time import monotonic
from typing import Any, NamedTuple

from kaggle_unet.inference.flips import FLIP_SETS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.steps.build import Ensemble, group_samples, predict_samples
from kaggle_unet.types import HalfPlanes, Planes, Sample, Shape

_RESERVE = 0.05  # of the time, for decoding what is pending, and for writing and checking the CSV
EMPTY = "nothing, as no time was left"


class Level(NamedTuple):
    """A way to predict an image, its name, and the area that the networks see in all, in areas of the image."""

    settings: InferenceSettings
    name: str
    passes: float


def list_levels(settings: InferenceSettings, n_networks: int) -> list[Level]:
    """List the levels at which an image may be predicted, from everything down to one view by one network.

    Flips are dropped first, then scales, then networks: those of least weight first, among equals the last.
    """
    weights = settings.weights or (1.0,) * n_networks
    fewer: list[dict[str, Any]] = [{}]
    n_flips = len(FLIP_SETS[settings.flips])
    fewer += [{"flips": name} for name in ("horizontal", "none") if len(FLIP_SETS[name]) < n_flips]
    if len(settings.scales) > 1:
        fewer.append({"scales": (min(settings.scales, key=lambda scale: abs(scale - 1)),)})
    order = sorted((k for k, weight in enumerate(weights) if weight), key=lambda k: -weights[k])
    for n in range(len(order) - 1, 0, -1):
        fewer.append({"weights": tuple(weight * (k in order[:n]) for k, weight in enumerate(weights))})
    levels: list[Level] = []
    for changes in fewer:
        settings = settings.model_copy(update=changes) if changes else settings
        flips, n = len(FLIP_SETS[settings.flips]), sum(map(bool, settings.weights or weights))
        views, passes = flips * len(settings.scales), n * flips * sum(scale**2 for scale in settings.scales)
        levels.append(Level(settings, f"views: {views}, networks: {n}", passes))
    return levels


class TimeBudget:
    """The time that a submission may take from now on, and the images for which it was too short, by level."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reduced: dict[str, list[str]] = {}
        self._end = monotonic() + (1 - _RESERVE) * seconds
        self._forget()

    def _forget(self) -> None:
        self._predicting_s = self._other_s = self._px = self._passes_px = 0.0

    def predict(
        self,
        ensemble: Ensemble,
        sizes: Mapping[str, Shape],
        load: Callable[[str], Sample],
        settings: InferenceSettings,
        decode: Callable[[Planes | HalfPlanes, Any], Any],
        set_aside: dict[str, str] | None = None,
        *,
        done: Container[str] = (),
    ) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
        """Predict planes like `predict_samples`, as long as there is time."""
        levels = list_levels(settings, len(ensemble.models))
        batches = [{id_: sizes[id_] for id_ in batch} for batch in group_samples(ensemble, sizes, settings)]
        batches = [batch for batch in batches if not all(id_ in done for id_ in batch)]

        def timed(batch: dict[str, Shape], level: Level) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
            """Predict, and add up the time that this takes, and the time until the next image is asked for."""
            start = monotonic()
            for one in predict_samples(ensemble, batch, load, level.settings, set_aside=set_aside):
                given = monotonic()
                self._predicting_s += given - start
                yield one
                start = monotonic()
                self._other_s += start - given
            self._predicting_s += monotonic() - start
            self._px += _area_px(batch)
            self._passes_px += _area_px(batch) * level.passes

        measures = bool(batches) and len(levels) > 1 and monotonic() < self._end
        for _ in range(2 if measures else 0):  # the first pass compiles kernels
            self._forget()
            for sample, planes in timed(batches[len(batches) // 2], levels[-1]):
                decode(planes, sample.image)
        left_px = sum(map(_area_px, batches))
        for batch in batches:
            level = self._choose(levels, left_px)
            left_px -= _area_px(batch)
            left = batch  # whole at the first level, as without a budget, so that results are the same
            if level != levels[0]:
                left = {id_: shape for id_, shape in batch.items() if id_ not in done}
                self.reduced.setdefault(level.name if level else EMPTY, []).extend(left)
            if level:
                yield from timed(left, level)

    def _choose(self, levels: list[Level], left_px: int) -> Level | None:
        """Choose the first level at which the images left fit into the time left; None if no time is left."""
        if (remaining_s := self._end - monotonic()) <= 0:
            return None
        for level in levels[:-1]:
            px_s = self._other_s / self._px + level.passes * self._predicting_s / self._passes_px
            if left_px * px_s <= remaining_s:
                return level
        return levels[-1]

    def remarks(self, n_images: int) -> list[str]:
        """Describe for how many of the images the time was too short."""
        how = "the time budget was short: {} of {} images were predicted with {}"
        return [how.format(len(ids), n_images, name) for name, ids in self.reduced.items()]


def _area_px(sizes: Mapping[str, Shape]) -> int:
    return sum(height * width for height, width in sizes.values())
