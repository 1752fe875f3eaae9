"""Time budgets of `submit`: where the measured speed is too low, fewer views, then fewer networks, then empty images.

What is left out, and in which order, is fixed; when, the clock decides, before each batch. With enough time every image
is predicted in full, in the same batches as without a budget, so the CSV is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, NamedTuple

from kaggle_unet.inference.flips import FLIP_SETS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.steps.build import Ensemble, batches_of, predict_samples
from kaggle_unet.types import HalfPlanes, Planes, Sample

_RESERVE = 0.05  # of the time, for decoding what waits, and for writing and checking the CSV
EMPTY = "nothing, as no time was left"


class Level(NamedTuple):
    """How much is predicted of an image, and how many passes through a network that takes, in passes of its area."""

    settings: InferenceSettings
    name: str
    passes: float


def list_levels(settings: InferenceSettings, n_networks: int) -> list[Level]:
    """List what an image may be predicted with, from everything to one view by one network.

    Flips go first, then scales, then networks: those of least weight, of equal ones the last.
    """
    chosen = [settings]
    for flips in ("horizontal", "none"):
        if len(FLIP_SETS[flips]) < len(FLIP_SETS[settings.flips]):
            chosen.append(settings.model_copy(update={"flips": flips}))
    if len(settings.scales) > 1:
        chosen.append(
            chosen[-1].model_copy(update={"scales": (min(settings.scales, key=lambda scale: abs(scale - 1)),)})
        )
    weights = settings.weights or (1.0,) * n_networks
    by_weight = sorted((k for k, weight in enumerate(weights) if weight), key=lambda k: -weights[k])
    for n in range(len(by_weight) - 1, 0, -1):
        kept = tuple(weight if k in by_weight[:n] else 0.0 for k, weight in enumerate(weights))
        chosen.append(chosen[-1].model_copy(update={"weights": kept}))
    return [_level(one, settings, n_networks) for one in chosen]


def _level(settings: InferenceSettings, full: InferenceSettings, n_networks: int) -> Level:
    views, all_views = (len(FLIP_SETS[one.flips]) * len(one.scales) for one in (settings, full))
    n, n_all = (sum(map(bool, one.weights or (1,) * n_networks)) for one in (settings, full))
    passes = n * len(FLIP_SETS[settings.flips]) * sum(scale**2 for scale in settings.scales)
    return Level(settings, f"{views} of {all_views} views and {n} of {n_all} networks", passes)


class TimeBudget:
    """The time that a submission may take, from here on, and the images that it was too short for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reduced: dict[str, list[str]] = {}  # the images of each level but the first
        self._end = monotonic() + (1 - _RESERVE) * seconds
        self._forget()

    def _forget(self) -> None:
        self._predicting_s = self._other_s = self._px = self._passes_px = 0.0

    def predict(
        self,
        ensemble: Ensemble,
        sizes: Mapping[str, tuple[int, int]],
        load: Callable[[str], Sample],
        settings: InferenceSettings,
        decode: Callable[[Planes | HalfPlanes, Any], Any],
    ) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
        """Predict planes as `predict_samples` does while there is time."""
        levels, batches = list_levels(settings, len(ensemble.models)), batches_of(ensemble, sizes, settings)
        parts = [{id_: sizes[id_] for id_ in batch} for batch in batches]

        def timed(part: dict[str, tuple[int, int]], level: Level) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
            return self._timed(predict_samples(ensemble, part, load, level.settings), _area_px([part]), level)

        if len(levels) > 1 and monotonic() < self._end:
            for _ in range(2):  # the first time, kernels are compiled
                self._forget()
                for sample, planes in timed(parts[len(parts) // 2], levels[-1]):
                    decode(planes, sample.image)
        left_px = _area_px(parts)
        for part in parts:
            level = self._choose(levels, left_px)
            left_px -= _area_px([part])
            if level != levels[0]:
                self.reduced.setdefault(level.name if level else EMPTY, []).extend(part)
            if level:
                yield from timed(part, level)

    def _choose(self, levels: list[Level], left_px: int) -> Level | None:
        """Choose the first level at which what is left takes no longer than there is time."""
        if (left_s := self._end - monotonic()) <= 0:
            return None
        for level in levels[:-1]:
            per_px = self._other_s / self._px + level.passes * self._predicting_s / self._passes_px
            if left_px * per_px <= left_s:
                return level
        return levels[-1]

    def _timed(
        self, predicted: Iterable[tuple[Sample, Planes | HalfPlanes]], area_px: int, level: Level
    ) -> Iterator[tuple[Sample, Planes | HalfPlanes]]:
        """Pass on what is predicted, and add up the time that this took, and that until the next one was asked for."""
        start = monotonic()
        for one in predicted:
            given = monotonic()
            self._predicting_s += given - start
            yield one
            start = monotonic()
            self._other_s += start - given
        self._predicting_s += monotonic() - start
        self._px += area_px
        self._passes_px += area_px * level.passes

    @property
    def record(self) -> dict[str, Any]:
        """What a manifest says about it."""
        return {"seconds": self.seconds, "reduced": self.reduced}

    def remarks(self, n_images: int) -> list[str]:
        """Say which part of the images it was too short for."""
        return [
            f"the time budget was short: {len(ids)} of {n_images} images were predicted with {name}"
            for name, ids in self.reduced.items()
        ]


def _area_px(parts: Iterable[Mapping[str, tuple[int, int]]]) -> int:
    return sum(height * width for part in parts for height, width in part.values())
