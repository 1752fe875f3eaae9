"""Search of decode parameters: the space of each codec, the search, what it remembers, and nested cross-validation.

The score on the images that were searched is in-sample, and too high. For each part of the images, `nested_search`
therefore searches on all the others, and scores the part with what was found without it (held-out); a final search on
all images gives the parameters that are used.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError, import_extra
from kaggle_unet.metrics.score import interval_of_mean
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.settings import CodecName, DecodeSettings

Params = Mapping[str, float | int | bool]
Scores = NDArray[np.float64]
MASK_THRESHOLD = "decode.mask_threshold"
THRESHOLDS = tuple(k / 20 for k in range(1, 20))  # at which the score is shown, whatever was searched
Evaluate = Callable[[Params], Scores]

N_AT_RANDOM = 20  # random trials before the search uses what it has found


@dataclass(frozen=True)
class Interval:
    """Values from `low` to `high` in steps."""

    low: float | int
    high: float | int
    step: float | int


_THRESHOLD = Interval(0.2, 0.8, 0.02)
Space = dict[str, Interval | tuple[bool, ...]]
_MASK: Space = {MASK_THRESHOLD: _THRESHOLD, "postprocess.min_area_px": Interval(0, 60, 2)}
_SEEDED: Space = {
    **_MASK,
    "decode.seed_threshold": Interval(0.3, 0.95, 0.025),
    "decode.border_threshold": Interval(0.1, 0.9, 0.05),
    "decode.min_seed_px": Interval(0, 40, 2),
    "decode.keep_seedless": (False, True),
    "postprocess.fill_holes_px": Interval(0, 100, 10),
}


def search_space(codec: CodecName, *, single_object: bool) -> Space:
    """Return the search space of a codec: intervals or choices, by the config's dotted keys."""
    if codec == "classes":
        raise ConfigError("the codec classes takes every pixel's most probable class, so there is nothing to tune")
    if single_object:  # salt of a few hundred pixels is mostly wrong, a nucleus of forty mostly right
        return {
            **_MASK,
            "decode.expected_iou": (False, True),
            "postprocess.min_area_px": Interval(0, 400, 10),
            "postprocess.fill_holes_px": Interval(0, 400, 20),
            "postprocess.constant_is_empty": (False, True),
            "postprocess.full_is_empty": (False, True),
        }
    if codec == "mask":
        return {**_MASK, "postprocess.fill_holes_px": Interval(0, 100, 10)}
    return dict(_SEEDED)


def apply_params(params: Params, decoder: Decoder) -> Decoder:
    """Return the decoder with these parameters in place of its own."""
    sections = {"decode": decoder.decode.model_dump(), "postprocess": decoder.postprocess.model_dump()}
    for key, value in params.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    return replace(
        decoder, decode=DecodeSettings(**sections["decode"]), postprocess=PostprocessSettings(**sections["postprocess"])
    )


def current_params(space: Space, decoder: Decoder) -> dict[str, Any]:
    """Return a decoder's own parameters, by the keys of a search space."""
    return {key: attrgetter(key)(decoder) for key in space}


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, and all trials with their scores."""

    params: dict[str, Any]
    trials: list[tuple[dict[str, Any], float]]


@dataclass(frozen=True)
class NestedResult:
    """A search on all images, with every image's score before and after it, held-out and in-sample."""

    found: SearchResult
    before: Scores
    held_out: Scores
    after: Scores
    params_without: dict[str, dict[str, Any]]


def nested_search(
    space: Space,
    evaluate: Evaluate,
    start: Params,
    parts: Sequence[str],
    n_trials: int,
    seed: int,
    *,
    on_trial: Callable[[int, int], None] = lambda *_: None,
) -> NestedResult:
    """Search for the best parameters, and score every part of the images with what was found without it.

    `on_trial` is told how many trials are done, and how many there are in all searches.
    """
    names = sorted(set(parts))

    def search_on(is_in: NDArray[np.bool_], number: int) -> SearchResult:
        def score(params: Params) -> float:
            return float(evaluate(params)[is_in].mean())

        def count(done: int) -> None:
            on_trial(number * n_trials + done, (len(names) + 1) * n_trials)

        return search(space, score, start, n_trials, seed, on_trial=count)

    part_of = np.array(parts)
    held_out = np.zeros(len(parts))
    params_without = {}
    for number, name in enumerate(names):
        is_in = part_of != name
        params_without[name] = search_on(is_in, number).params
        held_out[~is_in] = evaluate(params_without[name])[~is_in]
    found = search_on(np.ones(len(parts), np.bool_), len(names))
    return NestedResult(found, evaluate(start), held_out, evaluate(found.params), params_without)


def held_out_gain(before: Scores, held_out: Scores, groups: Sequence[str]) -> dict[str, Any]:
    """Compute the held-out gain of a choice, which is used only if the mean of that gain is positive."""
    gains = held_out - before
    return {
        "before": float(before.mean()),
        "held_out": float(held_out.mean()),
        "gain": float(gains.mean()),
        "interval": list(interval_of_mean(gains, groups)),
        "is_used": bool(gains.mean() > 0),
    }


def search(
    space: Space,
    evaluate: Callable[[Params], float],
    start: Params,
    n_trials: int,
    seed: int,
    *,
    on_trial: Callable[[int], None] = lambda _: None,
) -> SearchResult:
    """Search for the parameters with the highest score; the start need not lie in the space, and wins ties.

    Optuna's tree-structured Parzen estimator, after `N_AT_RANDOM` random trials. Bergstra et al. 2011,
    https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization.
    """
    optuna = import_extra("optuna", "tune", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(direction="maximize")
    trials = [(dict(start), evaluate(start))]
    for done in range(n_trials):
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=N_AT_RANDOM, multivariate=True, seed=seed + done)
        trial = study.ask()
        params = _suggest(trial, space)
        trials.append((params, evaluate(params)))
        study.tell(trial, trials[-1][1])
        on_trial(done + 1)
    best, _ = max(trials, key=lambda pair: pair[1])  # the first of equals
    return SearchResult(best, trials)


def _suggest(trial: Any, space: Space) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for key, values in space.items():
        if not isinstance(values, Interval):
            params[key] = trial.suggest_categorical(key, values)
        elif isinstance(values.step, int):
            params[key] = trial.suggest_int(key, values.low, values.high, step=values.step)
        else:
            params[key] = trial.suggest_float(key, values.low, values.high, step=values.step)
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in params.items()}  # 0.1 + 0.2


def remember(evaluate: Evaluate, path: Path) -> Evaluate:
    """Keep a function's scores in a file, so that an interrupted search, run again, evaluates nothing twice."""
    known: dict[str, Scores] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):  # a line that a kill or a full disk cut short
            params, scores = json.loads(line)
            known[params] = np.array(scores)

    def evaluate_once(params: Params) -> Scores:
        key = json.dumps(dict(params), sort_keys=True)
        if key not in known:
            known[key] = evaluate(params)
            with path.open("a") as file:
                file.write(f"\n{json.dumps([key, known[key].tolist()])}")
        return known[key]

    return evaluate_once
