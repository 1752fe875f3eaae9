"""`tune`: search decode parameters, and the weights of an ensemble, on out-of-fold planes."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field

from kaggle_unet.config import Config, load_config, plain
from kaggle_unet.data.inputs import with_channels
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.metrics.score import interval_of_mean
from kaggle_unet.report.plots import plot_search, plot_thresholds
from kaggle_unet.selection.ensemble import average_probabilities
from kaggle_unet.selection.search import (
    MASK_THRESHOLD,
    THRESHOLDS,
    Evaluate,
    Interval,
    NestedResult,
    Params,
    Scores,
    apply_params,
    current_params,
    held_out_gain,
    nested_search,
    remember,
    search_space,
)
from kaggle_unet.steps.parallel import OnProgress, explain_killed_workers, holding_ctrl_c, init_worker, run_task
from kaggle_unet.steps.run import DECODE_FILE, ENSEMBLE, describe_run, ensemble_folder, name_run, open_run
from kaggle_unet.steps.score import checkpoint_hashes, out_of_fold_samples, prediction_views
from kaggle_unet.store import Store, atomic_write, hash_plain, lock
from kaggle_unet.store.planes import describe_planes, read_planes, round_planes
from kaggle_unet.types import DataFrame, HalfPlanes, Planes, Result

_N_PARTS = 4  # into which a single fold is divided
_FEW = 32  # images; below this, a spawned interpreter costs more than it saves
_WEIGHT = Interval(0.0, 2.0, 0.1)  # of each further run; that of the first is 1
_WEIGHT_OF = "weight of "


class TuneResult(Result):
    """The result of a search: mean scores before and after (held-out and in-sample), and the parameters found."""

    folder: str
    images: int
    alone: float | None
    trials: int
    before: float
    held_out: Annotated[float, Field(serialization_alias="honest")]
    after: float
    gain: float
    interval: list[float]
    is_used: bool
    params: Annotated[dict[str, Any], Field(serialization_alias="point")]
    effects: dict[str, list[float]]
    by_threshold: dict[str, float]
    params_without: Annotated[dict[str, dict[str, Any]], Field(serialization_alias="points")]
    per_image: dict[str, list[float]]


def tune(
    config: Config,
    run: Path,
    store_folder: Path | None,
    *,
    others: Sequence[Path] = (),
    n_trials: int,
    workers: int,
    on_progress: OnProgress = lambda *_: None,
) -> TuneResult:
    """Search decode parameters on a run's out-of-fold planes, and write them to its `decode.yaml`.

    The parts of the nested search are the folds that have planes, or four parts of a single fold, groups kept together.
    An image's held-out score is the one with the parameters found without its part: the score to expect on new images.
    If the mean is no better than before, `decode.yaml` keeps the config's values.
    """
    if n_trials < 1:
        raise ConfigError(f"trials is {n_trials}; expected at least 1")
    trained, store = open_run(run, store_folder)
    _refuse_other(config, trained, run)
    for other in others:
        refuse_beside(config, trained, run, other)
    names = [f"{_WEIGHT_OF}{name_run(run, other)}" for other in others]
    images = list_images(run, others)
    space = search_space(config.codec.name, single_object=config.decode.single_object)
    start = current_params(space, config.decoder)
    space |= dict.fromkeys(names, _WEIGHT)
    start |= dict.fromkeys(names, 1.0)
    folder = ensemble_folder(run, others) if others else run
    kept = folder / "tune" / f"{_identity(config, store, images, names)[:12]}.jsonl"
    with lock(folder / "tune"), _evaluation(config, store, images, names, workers) as score_images:
        evaluate = remember(score_images, kept)
        parts, on_trial = images["part"].tolist(), partial(on_progress, "trials")
        nested = nested_search(space, evaluate, start, parts, n_trials, config.training.seed, on_trial=on_trial)
        result = _summarize(folder, images, nested, evaluate, start)
        _write(config, result, images, nested)
        return result


def _summarize(folder: Path, images: DataFrame, nested: NestedResult, evaluate: Evaluate, start: Params) -> TuneResult:
    """Summarize a search: the held-out gain, the effect of each changed value, and the score by mask threshold."""
    groups, others = images["group"].tolist(), _split(start)[1]
    gain = held_out_gain(nested.before, nested.held_out, groups)
    params = nested.found.params if gain["is_used"] else nested.found.trials[0][0]
    gains = {
        key: nested.after - evaluate({**nested.found.params, key: value})
        for key, value in start.items()
        if nested.found.params[key] != value
    }
    curve = {value: evaluate({**params, MASK_THRESHOLD: value}) for value in THRESHOLDS}
    alone = evaluate({**start, **dict.fromkeys(others, 0.0)}) if others else None
    return TuneResult(
        folder=str(folder),
        images=len(images),
        alone=None if alone is None else float(alone.mean()),
        trials=len(nested.found.trials) - 1,
        after=float(nested.after.mean()),
        params=params,
        effects={key: [float(its.mean()), *interval_of_mean(its, groups)] for key, its in gains.items()},
        by_threshold={f"{value:.2f}": float(scores.mean()) for value, scores in curve.items()},
        params_without=nested.params_without,
        per_image=dict(zip(images["id"], np.column_stack([nested.before, nested.held_out]).tolist(), strict=True)),
        **gain,
    )


def _identity(config: Config, store: Store, images: DataFrame, names: Sequence[str]) -> str:
    """Hash everything that a search depends on; a later search with the same hash reuses its scores."""
    planes = dict.fromkeys(folder for folders in images["folders"] for folder in folders)
    return hash_plain(
        {
            "start": plain(config, "competition", "codec", "decode", "postprocess"),
            "planes": [describe_planes(folder) for folder in planes],
            "truth": store.manifest["identity_sha256"],
            **({"weights": names, "mean": config.inference.mean} if names else {}),
        }
    )


def _refuse_other(config: Config, trained: Config, run: Path) -> None:
    for name in ("competition.name", "codec.name", "decode.single_object"):
        mine, theirs = map(attrgetter(name), (config, trained))
        if mine != theirs:
            msg = f"{run} was trained with {name} {theirs}, the config says {mine}; pass the run's own config"
            raise ConfigError(msg)


def refuse_beside(config: Config, trained: Config, run: Path, other: Path) -> None:
    """Refuse a run trained on other images, or one whose networks can't be averaged with the first run's."""
    about = describe_run(other)
    theirs = load_config(other / "config.yaml")
    inputs = with_channels(plain(theirs)["input"], trained.input.channels)
    sections = {"input": (plain(trained)["input"], inputs), "codec.name": (trained.codec.name, theirs.codec.name)}
    different = [name for name, (mine, its) in sections.items() if mine != its]
    different += ["data"] if about["data"] != describe_run(run)["data"] else []
    different += ["competition"] if theirs.competition.name != config.competition.name else []
    if different:
        msg = f"--with {other}: differs from {run} in {' and '.join(different)}, so they can't be averaged; leave it "
        raise ConfigError(f"{msg}out")


def _split(params: Params) -> tuple[Params, dict[str, float]]:
    """Separate decode parameters from the weights of runs."""
    weights = {name: float(value) for name, value in params.items() if name.startswith(_WEIGHT_OF)}
    return {name: value for name, value in params.items() if name not in weights}, weights


def list_images(run: Path, others: Sequence[Path]) -> DataFrame:
    """List the images that have out-of-fold planes in every run, divided into parts by the first run's folds."""
    if len({one.resolve() for one in (run, *others)}) <= len(others):
        raise ConfigError(f"{run} --with {' --with '.join(map(str, others))}: a run is named twice; name each once")
    table = out_of_fold_samples(run).reset_index(drop=True)
    for other in others:
        planes = out_of_fold_samples(other)[["id", "planes"]].reset_index(drop=True)
        table = table.merge(planes, on="id", suffixes=("", f" of {other}"))
    if table.empty:
        runs = " and ".join(map(str, (run, *others)))
        raise DataError(f"{runs} have no out-of-fold planes of the same image; train the same folds")
    folders = table[[name for name in table.columns if name.startswith("planes")]]
    table["folders"] = list(folders.itertuples(index=False, name=None))
    table["part"] = [f"fold {fold}" for fold in table["fold"]]
    if table["part"].nunique() == 1:
        groups = sorted(table["group"].unique(), key=hash_plain)
        part_of = {group: f"part {number % _N_PARTS}" for number, group in enumerate(groups)}
        table["part"] = table["group"].map(part_of)
    if table["part"].nunique() == 1:
        msg = f"{run}: all images are of one group: two groups of images are needed, one to learn from and one to "
        raise ConfigError(f"{msg}score; train more folds")
    return table[["id", "group", "part", "folders"]]


@contextmanager
def _evaluation(
    config: Config, store: Store, images: DataFrame, weights: Sequence[str], workers: int
) -> Iterator[Evaluate]:
    """Provide a function that scores all images, in several processes that each hold some of the planes."""
    workers = 1 if len(images) < _FEW else workers
    if workers <= 1:
        yield _make_scorer(config, store.folder, images, weights)
        return
    parts = [(config, store.folder, images[number::workers], weights) for number in range(workers)]
    pools = [ProcessPoolExecutor(1, get_context("spawn"), init_worker, (_make_scorer, *part)) for part in parts]
    try:

        def evaluate(params: Params) -> Scores:
            with holding_ctrl_c():  # the first time, this starts the processes
                futures = [pool.submit(run_task, dict(params)) for pool in pools]
            scores = np.empty(len(images))
            with explain_killed_workers("end other programs, and run the same command, which goes on"):
                for number, future in enumerate(futures):
                    scores[number::workers] = future.result()
            return scores

        yield evaluate
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _make_scorer(config: Config, store_folder: Path, images: DataFrame, weights: Sequence[str]) -> Evaluate:
    """Return a function that scores images and holds their planes and truth in memory."""
    store, metric = Store.open(store_folder), config.metric
    members_of = {
        id_: [read_planes(folder, id_).astype(np.float16) for folder in folders]
        for id_, folders in zip(images["id"], images["folders"], strict=True)
    }
    samples = [store.read(id_) for id_ in members_of]

    def score(params: Params) -> Scores:
        rest, others = _split(params)
        run_weights = (1.0, *(others[name] for name in weights))
        decoder = apply_params(rest, config.decoder)
        scores = []
        for sample in samples:
            assert sample.labels is not None
            members = members_of[sample.id]
            planes = average_planes(config, members, run_weights) if weights else members[0]
            scores.append(metric(sample.labels, decoder(planes, sample.image)).mean)
        return np.array(scores)

    return score


def average_planes(
    config: Config, members: Sequence[Planes | HalfPlanes], weights: Sequence[float]
) -> Planes | HalfPlanes:
    """Average the planes of several runs as those of one prediction are averaged and stored."""
    activation = config.decoder.codec.activation
    return round_planes(average_probabilities(members, weights, mean=config.inference.mean, activation=activation))


def _write(config: Config, result: TuneResult, images: DataFrame, nested: NestedResult) -> None:
    """Write the result, its pictures, and the parameters for `submit`."""
    folder = Path(result.folder)
    atomic_write(folder / "tune" / "result.json", json.dumps(result.to_json(), indent=1))
    title = f"{len(images)} images, out-of-fold: {result.before:.4f} before, {result.held_out:.4f} held-out after"
    plot = plot_search(nested.found.trials, nested.found.params, title=title)
    atomic_write(folder / "tune" / "landscape.png", plot)
    curve = {float(value): score for value, score in result.by_threshold.items()}
    atomic_write(folder / "tune" / "thresholds.png", plot_thresholds(curve, result.params[MASK_THRESHOLD]))
    atomic_write(folder / DECODE_FILE, _format_decode_file(config, result, images))


def _format_decode_file(config: Config, result: TuneResult, images: DataFrame) -> str:
    rest, weights = _split(result.params)
    decoder = apply_params(rest, config.decoder)
    folders = [folder for folders in images["folders"] for folder in folders]
    sections: dict[str, Any] = {"decode": plain(decoder.decode), "postprocess": plain(decoder.postprocess)}
    sections |= {"codec": config.codec.name, "checkpoints": checkpoint_hashes(folders)}
    sections |= {"views": prediction_views(folders)}
    if weights:
        sections[ENSEMBLE] = {".": 1.0, **{name.removeprefix(_WEIGHT_OF): weights[name] for name in weights}}
    origin = "found by kaggle-unet tune" if result.is_used else "the config's: kaggle-unet tune found nothing better"
    head = (
        f"# {origin}, on {result.images} images, out-of-fold\n"
        f"# score {result.before:.4f} before, {result.held_out:.4f} on images that the search had not seen\n"
    )
    return head + yaml.safe_dump(sections, sort_keys=False)
