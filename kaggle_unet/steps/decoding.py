"""Which decode parameters a prediction takes: a file's, those that `tune` has left in the run, or the config's.

Those of an ensemble of several runs lie in the first one's folder, `RUN/ensemble/<others>/decode.yaml`, with a section
that says how much each of the runs counts::

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

from kaggle_unet.config import Config, fingerprint, plain, validate
from kaggle_unet.errors import ConfigError

DECODE_FILE = "decode.yaml"
OF_CONFIG = "config"  # instead of a file: the config's own values
SECTIONS = ("decode", "postprocess")
ENSEMBLE = "ensemble"  # the folder, and the section


def choose_decoding(
    config: Config, checkpoints: Sequence[Path], *, chosen: str | None, overrides: Sequence[str] = ()
) -> tuple[Config, Path | None]:
    """Choose decode parameters."""
    said = tuple(f"{section}." for section in SECTIONS)
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
        msg = (
            f"{file}: is of checkpoints of {wanted}, as seen from {_home_of(file)}, but these are of {found}; name "
            "theirs, or another --decode"
        )
        raise ConfigError(msg)
    numbers = Counter(runs)
    weights = config.inference.weights or tuple(shares[run] / numbers[run] for run in runs)
    return config.model_copy(update={"inference": config.inference.model_copy(update={"weights": weights})}), file


def _left_by_tune(config: Config, runs: set[Path]) -> Path | None:
    """Find what `tune` has left for one run, or for several together."""
    if len(runs) == 1:
        file = next(iter(runs)) / DECODE_FILE
        return file if file.is_file() else None
    if config.inference.weights is not None:  # the config says itself how much each checkpoint counts
        return None
    files = [file for run in sorted(runs) for file in sorted((run / ENSEMBLE).glob(f"*/{DECODE_FILE}"))]
    files = [file for file in files if set(_find_runs(file, _load(file).get(ENSEMBLE, {}))) == runs]
    if len(files) > 1:
        found = " and ".join(map(str, files))
        msg = f"tune has left {len(files)} decodings for these runs: {found}; name one of them with --decode"
        raise ConfigError(msg)
    return files[0] if files else None


def name_run(run: Path, other: Path) -> str:
    """Name a run as it is seen from another one."""
    return Path(os.path.relpath(other.resolve(), run.resolve())).as_posix()


def ensemble_folder(run: Path, others: Sequence[Path]) -> Path:
    """Give the folder of what `tune` leaves for several runs together."""
    names = sorted(name_run(run, other) for other in others)
    shown = "+".join(sorted(other.resolve().name for other in others))
    return run / ENSEMBLE / f"{shown}-{fingerprint(names)[:6]}"


def name_decoding(file: Path | None) -> str:
    """Name where decode parameters are from."""
    if file is None:
        return OF_CONFIG
    return "/".join(file.parts[-4 if file.parent.parent.name == ENSEMBLE else -2 :])


def _home_of(file: Path) -> Path:
    """Find the run that the names in an ensemble's file are seen from."""
    return file.absolute().parents[2]


def _find_runs(file: Path, counted: Mapping[str, float]) -> dict[Path, float]:
    """Find the runs that an ensemble's file names."""
    return {(_home_of(file) / name).resolve(): weight for name, weight in counted.items()}


def _run_of(checkpoint: Path) -> Path:
    """Find a checkpoint's run; where the file is a link, that of the link."""
    return checkpoint.absolute().parent.parent.resolve()


def run_of(checkpoints: Iterable[Path]) -> Path | None:
    """Find the run that checkpoints are of."""
    runs = {_run_of(file) for file in checkpoints}
    return runs.pop() if len(runs) == 1 else None


def decoding_of_run(config: Config, run: Path, *, chosen: str | None) -> tuple[Config, Path | None]:
    """Choose decode parameters for the planes of one run."""
    file = run / DECODE_FILE if chosen is None else Path(chosen)
    if chosen == OF_CONFIG or (chosen is None and not file.is_file()):
        return config, None
    config, counted = _read(config, file)
    if counted:
        msg = f"{file}: is of an ensemble of {len(counted)} runs, not of {run} alone; give another file"
        raise ConfigError(msg)
    return config, file


def _read(config: Config, file: Path) -> tuple[Config, dict[str, float]]:
    """Put a file's sections into the config; beside it, how much each run of an ensemble counts."""
    tree = _load(file)
    counted = tree.pop(ENSEMBLE, {})
    return validate({**plain(config), **tree}, where=str(file)), counted


def _load(file: Path) -> dict[str, Any]:
    try:
        tree: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{file}: can't be read ({error}); give --decode a file that tune wrote, or the word {OF_CONFIG}"
        raise ConfigError(msg) from error
    if not isinstance(tree, dict) or not tree or not set(tree) <= {*SECTIONS, ENSEMBLE}:
        msg = f"{file}: wanted the sections {' and '.join(SECTIONS)}, as kaggle-unet tune writes them"
        raise ConfigError(msg)
    counted = tree.get(ENSEMBLE, {})
    if not isinstance(counted, dict) or not all(
        isinstance(name, str) and _is_weight(counted[name]) for name in counted
    ):
        msg = f"{file}: {ENSEMBLE} is {counted!r}; wanted runs, each with a weight of at least 0"
        raise ConfigError(msg)
    if counted and not any(counted.values()):
        msg = f"{file}: {ENSEMBLE} is {counted!r}; one weight at least is above 0"
        raise ConfigError(msg)
    return tree


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
