"""Which decode parameters a prediction takes: a file's, those that `tune` has left in the run, or the config's.

Those of an ensemble of several runs lie in the first one's folder `ensemble/`, with a section that says how much each
of the runs counts::

    decode: {mask_threshold: 0.44, …}
    postprocess: {min_area_px: 20, …}
    ensemble: {.: 1.0, ../other: 0.6}    # runs, seen from the folder of the first
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kaggle_unet.config import Config, plain, validate
from kaggle_unet.errors import ConfigError

DECODE_FILE = "decode.yaml"
OF_CONFIG = "config"  # instead of a file: the config's own values
SECTIONS = ("decode", "postprocess")
ENSEMBLE = "ensemble"  # the folder, and the section


def choose_decoding(
    config: Config, checkpoints: Sequence[Path], *, chosen: str | None, overrides: Sequence[str] = ()
) -> tuple[Config, Path | None]:
    """Choose decode parameters.

    Parameters
    ----------
    config : Config
        The experiment.
    checkpoints : sequence of Path
        The files that predict, `RUN/fold<N>/<name>.pt`.
    chosen : str, optional
        A file such as `tune` writes, or `config` for the config's own values. None takes what `tune` has left for the
        run, or for the ensemble of exactly those runs, that the checkpoints are of, if nothing else is said.
    overrides : sequence of str
        What `--set` says; where it speaks of decoding, the config's values are meant.

    Returns
    -------
    config : Config
        With the values; of an ensemble with `inference.weights`, what a run counts being shared by its checkpoints.
    file : Path or None
        Where they are from; None for the config's own.

    Raises
    ------
    ConfigError
        If the file can't be read, holds something else, or is of other runs than the checkpoints.
    """
    said = (*(f"{section}." for section in SECTIONS), "inference.weights")
    if chosen == OF_CONFIG or (chosen is None and any(override.startswith(said) for override in overrides)):
        return config, None
    runs = [_run_of(checkpoint) for checkpoint in checkpoints]
    file = _left_by_tune(config, set(runs)) if chosen is None else Path(chosen)
    if file is None:
        return config, None
    config, counted = _read(config, file)
    if not counted:
        return config, file
    shares = _find_runs(file, counted)
    if set(shares) != set(runs):
        wanted, found = (" and ".join(sorted(map(str, some))) for some in (shares, set(runs)))
        msg = f"--decode {file}: is of checkpoints of {wanted}, these are of {found}; name theirs, or another --decode"
        raise ConfigError(msg)
    numbers = Counter(runs)
    weights = tuple(shares[run] / numbers[run] for run in runs)
    return config.model_copy(update={"inference": config.inference.model_copy(update={"weights": weights})}), file


def _left_by_tune(config: Config, runs: set[Path]) -> Path | None:
    """Find what `tune` has left for one run, or for several together."""
    if len(runs) == 1:
        files = [next(iter(runs)) / DECODE_FILE]
    elif config.inference.weights is None:
        files = [run / ENSEMBLE / DECODE_FILE for run in sorted(runs)]
        files = [file for file in files if file.is_file() and set(_find_runs(file, _read(config, file)[1])) == runs]
    else:
        files = []  # the config says itself how much each checkpoint counts
    return next((file for file in files if file.is_file()), None)


def name_run(run: Path, other: Path) -> str:
    """Name a run as it is seen from another one.

    Parameters
    ----------
    run : Path
        The first of an ensemble.
    other : Path
        One of them.

    Returns
    -------
    name : str
        A relative path, so that folders that move together stay an ensemble; `.` is `run` itself.
    """
    return Path(os.path.relpath(other.resolve(), run.resolve())).as_posix()


def _find_runs(file: Path, counted: Mapping[str, float]) -> dict[Path, float]:
    """Find the runs that an ensemble's file names."""
    return {(file.parent.parent / name).resolve(): weight for name, weight in counted.items()}


def _run_of(checkpoint: Path) -> Path:
    return checkpoint.resolve().parent.parent


def run_of(checkpoints: Iterable[Path]) -> Path | None:
    """Find the run that checkpoints are of.

    Parameters
    ----------
    checkpoints : iterable of Path
        Files, `RUN/fold<N>/<name>.pt`.

    Returns
    -------
    run : Path or None
        Its folder; None if they are of several, or there are none.
    """
    runs = {_run_of(file) for file in checkpoints}
    return runs.pop() if len(runs) == 1 else None


def decoding_of_run(config: Config, run: Path, *, chosen: str | None) -> tuple[Config, Path | None]:
    """Choose decode parameters for the planes of one run.

    Parameters
    ----------
    config : Config
        Its experiment.
    run : Path
        Its folder.
    chosen : str, optional
        A file such as `tune` writes, or `config` for the config's own values. None takes what `tune` has left in the
        run, if it has.

    Returns
    -------
    config : Config
        With the values.
    file : Path or None
        Where they are from; None for the config's own.

    Raises
    ------
    ConfigError
        If the file can't be read, or holds something else.
    """
    file = run / DECODE_FILE if chosen is None else Path(chosen)
    if chosen == OF_CONFIG or (chosen is None and not file.is_file()):
        return config, None
    config, counted = _read(config, file)
    if counted:
        msg = f"--decode {file}: is of an ensemble of {len(counted)} runs, not of {run} alone; give another file"
        raise ConfigError(msg)
    return config, file


def _read(config: Config, file: Path) -> tuple[Config, dict[str, float]]:
    """Put a file's sections into the config; beside it, how much each run of an ensemble counts."""
    try:
        tree: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"--decode {file}: can't be read ({error}); give a file that tune wrote, or the word {OF_CONFIG}"
        raise ConfigError(msg) from error
    if not isinstance(tree, dict) or not tree or not set(tree) <= {*SECTIONS, ENSEMBLE}:
        msg = f"--decode {file}: wanted the sections {' and '.join(SECTIONS)}, as kaggle-unet tune writes them"
        raise ConfigError(msg)
    counted = tree.pop(ENSEMBLE, {})
    if (
        not isinstance(counted, dict)
        or not all(map(_is_weight, counted.values()))
        or (counted and not any(counted.values()))
    ):
        msg = f"--decode {file}: {ENSEMBLE} is {counted!r}; wanted a weight for each run, none below 0, one above"
        raise ConfigError(msg)
    return validate({**plain(config), **tree}, where=str(file)), counted


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
