"""`tune`: decode parameters, and the weights of an ensemble, searched on out-of-fold planes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, load_config, plain
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.metrics.score import interval_of_mean
from kaggle_unet.report.plots import plot_search
from kaggle_unet.selection.ensemble import average_probabilities
from kaggle_unet.selection.search import (
    Evaluate,
    Interval,
    NestedResult,
    Params,
    Scores,
    SearchBudget,
    apply_params,
    nested_search,
    params_of,
    space_of,
)
from kaggle_unet.steps.run import CHECKPOINTS, DECODE_FILE, ENSEMBLE, describe_run, ensemble_folder, name_run, open_run
from kaggle_unet.steps.score import folds_with_planes, out_of_fold_rows
from kaggle_unet.store import Store, atomic_write, hash_plain, lock
from kaggle_unet.store.planes import describe_planes, read_planes, round_planes
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.types import HalfPlanes, Planes

_N_PARTS = 4  # of a single fold
_FEW = 32  # images; below this a spawned interpreter costs more than it brings
_WEIGHT = Interval(0.0, 2.0, 0.1)  # beside the first run's 1
_WEIGHT_OF = "weight of "


def tune(
    config: Config,
    run: Path,
    store_folder: Path | None,
    *,
    others: Sequence[Path] = (),
    n_trials: int,
    workers: int,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Search decode parameters on a run's out-of-fold planes.

    The parts are the folds that have planes; the images of a single fold are divided into four, groups kept together.
    `held_out` is the mean over images of the score with what was found without the image's part: the number to expect
    of new images. The final search is on all images. Where nothing is gained honestly, `decode.yaml` keeps the config's
    values.
    """
    trained, store = open_run(run, store_folder)
    _refuse_other(config, trained, run)
    for other in others:
        _refuse_beside(config, trained, run, other)
    images = _list_images(run, others)
    space = space_of(config.codec.name, single_object=config.decode.single_object)
    start = params_of(space, config.decoder)
    names = _name_weights(run, others)
    space |= dict.fromkeys(names, _WEIGHT)
    start |= dict.fromkeys(names, 1.0)
    settings = plain(config)
    planes = dict.fromkeys(folder for image in images for folder in image.folders)
    identity = hash_plain(
        {
            "start": {name: settings[name] for name in ("competition", "codec", "decode", "postprocess")},
            "planes": [describe_planes(folder) for folder in planes],
            "truth": store.manifest["identity_sha256"],
            **({"weights": names, "mean": settings["inference"]["mean"]} if names else {}),
        }
    )
    folder = ensemble_folder(run, others) if others else run
    journal = folder / "tune" / f"{identity[:12]}.journal"
    with lock(folder / "tune"), _evaluation(config, store, images, names, workers) as evaluate:
        nested = nested_search(
            space,
            evaluate,
            start,
            [image.part for image in images],
            SearchBudget(n_trials, config.training.seed, journal),
            on_trial=lambda name, done: on_progress(f"trials, {name}", done, n_trials),
        )
        effects = {
            key: nested.after - evaluate({**nested.found.params, key: value})
            for key, value in start.items()
            if nested.found.params[key] != value
        }
        alone = evaluate({**start, **dict.fromkeys(names, 0.0)}) if names else None
        return _write(config, folder, images, nested, effects, alone)


@dataclass(frozen=True)
class _Image:
    """An image with planes: where each run has them, and what it must not be told apart from."""

    id: str
    folders: tuple[Path, ...]
    group: str
    part: str


def _refuse_other(config: Config, trained: Config, run: Path) -> None:
    for name in ("competition.name", "codec.name", "decode.single_object"):
        section, _, key = name.partition(".")
        mine, theirs = (getattr(getattr(one, section), key) for one in (config, trained))
        if mine != theirs:
            msg = f"{run} was trained with {name} {theirs}, the config says {mine}; pass the run's own config"
            raise ConfigError(msg)


def _refuse_beside(config: Config, trained: Config, run: Path, other: Path) -> None:
    """Refuse a run whose networks `submit` could not average with the first one's, or that is of other images."""
    about = describe_run(other)
    theirs = load_config(other / "config.yaml")
    sections = {"input": (trained.input, theirs.input), "codec.name": (trained.codec.name, theirs.codec.name)}
    different = [name for name, (mine, its) in sections.items() if mine != its]
    different += ["data"] if about["data"] != describe_run(run)["data"] else []
    different += ["competition"] if theirs.competition.name != config.competition.name else []
    if different:
        msg = (
            f"--with {other}: differs from {run} in {' and '.join(different)}, so they can't be averaged; leave it out"
        )
        raise ConfigError(msg)


def _name_weights(run: Path, others: Sequence[Path]) -> list[str]:
    names = [name_run(run, other) for other in others]
    if len({".", *names}) <= len(names):
        msg = f"tune {run} --with {' --with '.join(map(str, others))}: a run is named twice; name each once"
        raise ConfigError(msg)
    return [f"{_WEIGHT_OF}{name}" for name in names]


def _split(params: Params) -> tuple[Params, dict[str, float]]:
    """Take the weights of runs out of a point; what is left are decode parameters."""
    weights = {name: float(value) for name, value in params.items() if name.startswith(_WEIGHT_OF)}
    return {name: value for name, value in params.items() if name not in weights}, weights


def _list_images(run: Path, others: Sequence[Path]) -> list[_Image]:
    """List all images that have out-of-fold planes of every run, and divide them by the folds of the first."""
    more = [
        {row["id"]: folder for row, folder in out_of_fold_rows(other, folds_with_planes(other))} for other in others
    ]
    images = [
        _Image(row["id"], (folder, *(found[row["id"]] for found in more)), row["group"], f"fold {row['fold']}")
        for row, folder in out_of_fold_rows(run, folds_with_planes(run))
        if all(row["id"] in found for found in more)
    ]
    if not images:
        runs = " and ".join(map(str, (run, *others)))
        msg = f"{runs} have no out-of-fold planes of the same image; train the same folds"
        raise DataError(msg)
    if len({image.part for image in images}) > 1:
        return images
    groups = sorted({image.group for image in images}, key=hash_plain)
    part_of = {group: f"part {number % _N_PARTS}" for number, group in enumerate(groups)}
    return [replace(image, part=part_of[image.group]) for image in images]


@contextmanager
def _evaluation(
    config: Config, store: Store, images: Sequence[_Image], weights: Sequence[str], workers: int
) -> Iterator[Evaluate]:
    """Give what scores all images at a point, over several processes that each hold their share of the planes."""
    workers = 1 if len(images) < _FEW else workers
    shards = [
        _ImageShard(config, store.folder, tuple(images[number::workers]), tuple(weights)) for number in range(workers)
    ]
    if workers == 1:
        yield _Held(shards[0]).score
        return
    pools = [ProcessPoolExecutor(1, get_context("spawn"), _hold, (shard,)) for shard in shards]
    try:

        def evaluate(params: Params) -> Scores:
            futures = [pool.submit(_score, dict(params)) for pool in pools]
            scores = np.empty(len(images))
            for number, future in enumerate(futures):
                scores[number::workers] = future.result()
            return scores

        yield evaluate
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _ImageShard:
    """What one process scores."""

    config: Config
    store_folder: Path
    images: tuple[_Image, ...]
    weights: tuple[str, ...]


class _Held:
    """Planes and truth of some images, in memory."""

    def __init__(self, shard: _ImageShard) -> None:
        store = Store.open(shard.store_folder)
        self._config, self._weights = shard.config, shard.weights
        self._codec = CODECS[shard.config.codec.name]
        self._metric = get_competition(shard.config.competition.name).metric
        samples = [store.read(image.id) for image in shard.images]
        self._truths = [sample.labels for sample in samples]
        self._images = [sample.image for sample in samples]
        self._planes = [
            [read_planes(folder, image.id).astype(np.float16) for folder in image.folders] for image in shard.images
        ]

    def score(self, params: Params) -> Scores:
        rest, weights = _split(params)
        others = [weights[name] for name in self._weights]
        decoder = apply_params(rest, self._config.decoder)
        scores = []
        for image, truth, members in zip(self._images, self._truths, self._planes, strict=True):
            assert truth is not None
            labels = decoder(self._mix(members, others), image)
            scores.append(self._metric(truth, labels).mean)
        return np.array(scores)

    def _mix(self, members: Sequence[HalfPlanes], others: Sequence[float]) -> Planes | HalfPlanes:
        if not others:
            return members[0]
        mean, activation = self._config.inference.mean, self._codec.activation
        return round_planes(average_probabilities(members, (1, *others), mean=mean, activation=activation))


_held: list[_Held] = []


def _hold(shard: _ImageShard) -> None:
    """Read a process's share, when it starts."""
    _held[:] = [_Held(shard)]


def _score(params: dict[str, Any]) -> Scores:
    return _held[0].score(params)


def _write(
    config: Config,
    folder: Path,
    images: Sequence[_Image],
    nested: NestedResult,
    effects: Mapping[str, Scores],
    alone: Scores | None,
) -> dict[str, Any]:
    gains, groups = nested.held_out - nested.before, [image.group for image in images]
    is_better = bool(gains.mean() > 0)
    params = nested.found.params if is_better else nested.found.trials[0][0]
    rest, weights = _split(params)
    decoder = apply_params(rest, config.decoder)
    planes = {folder for image in images for folder in image.folders}
    hashes = sorted({digest for its in planes for digest in describe_planes(its)["checkpoints"]})
    sections = {"decode": plain(decoder.decode), "postprocess": plain(decoder.postprocess), CHECKPOINTS: hashes}
    sections |= (
        {ENSEMBLE: {".": 1.0, **{name.removeprefix(_WEIGHT_OF): weights[name] for name in weights}}} if weights else {}
    )
    result = {
        "folder": str(folder),
        "images": len(images),
        **({} if alone is None else {"alone": float(alone.mean())}),
        "trials": len(nested.found.trials) - 1,
        "before": float(nested.before.mean()),
        "honest": float(nested.held_out.mean()),
        "after": float(nested.after.mean()),
        "gain": float(gains.mean()),
        "interval": list(interval_of_mean(gains, groups)),
        "is_used": is_better,
        "point": params,
        "effects": {key: [float(gain.mean()), *interval_of_mean(gain, groups)] for key, gain in effects.items()},
        "points": nested.params_without,
        "per_image": {
            image.id: [float(before), float(held_out)]
            for image, before, held_out in zip(images, nested.before, nested.held_out, strict=True)
        },
    }
    atomic_write(folder / "tune" / "result.json", json.dumps(result, indent=1))
    title = f"{len(images)} images, out-of-fold: {result['before']:.4f} before, {result['honest']:.4f} honestly after"
    picture = plot_search(nested.found.trials, nested.found.params, title=title)
    atomic_write(folder / "tune" / "landscape.png", picture)
    atomic_write(folder / DECODE_FILE, _to_yaml(result, sections))
    return result


def _to_yaml(result: Mapping[str, Any], sections: Mapping[str, Any]) -> str:
    said = "found by kaggle-unet tune" if result["is_used"] else "the config's: kaggle-unet tune found nothing better"
    head = (
        f"# {said}, on {result['images']} images, out-of-fold\n"
        f"# score {result['before']:.4f} before, {result['honest']:.4f} on images that the search had not seen\n"
    )
    return head + yaml.safe_dump(dict(sections), sort_keys=False)
