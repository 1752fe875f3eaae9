"""A run's folder: what it was made of, and which samples each fold left out.

::

    RUN/config.yaml       resolved config
    RUN/run.json          store and data with their hashes, config, device, versions, commit, command
    RUN/folds.csv         id, fold, group, stratum, kind
    RUN/fold<N>/          best.safetensors last.safetensors metrics.csv curves.png result.json planes/

Where a config's store and runs lie when nobody says otherwise.

Which decode parameters a prediction takes: a file's, those that `tune` has left in the run, or the config's.

Those of an ensemble of several runs lie in the first one's folder, `RUN/ensemble/<others>/decode.yaml`, with a section
that says how much each of the runs counts::

    decode: {mask_threshold: 0.44, …}
    postprocess: {min_area_px: 20, …}
    ensemble: {.: 1.0, ../other: 0.6}    # runs, seen from the folder of the first
"""

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kaggle_unet.config import Config, fingerprint, load_config, plain, to_yaml, validate_config
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.steps.make_targets import changed_keys, divide, measure_sample, open_targets
from kaggle_unet.steps.provenance import describe_environment
from kaggle_unet.store import Store, atomic_write, find_differences
from kaggle_unet.training.settings import BEST, SAFE_TO_CHANGE


def experiment_of(config_path: Path) -> Path:
    """Name an experiment by its config's place.

    >>> experiment_of(Path("configs/dsb2018/quick.yaml")).as_posix()
    'dsb2018/quick'
    >>> experiment_of(Path("/home/me/cells/mine.yaml")).as_posix()
    'cells/mine'
    """
    parts = config_path.absolute().with_suffix("").parts
    if "configs" in parts:
        start = len(parts) - parts[::-1].index("configs")
        return Path(*parts[start:])
    return Path(*parts[-2:])


def store_folder(config_path: Path, chosen: Path | None) -> Path:
    """Tell where the prepared samples of an experiment lie."""
    return chosen or Path("store") / experiment_of(config_path)


def run_folder(config_path: Path, chosen: Path | None) -> Path:
    """Tell where an experiment's checkpoints and planes lie."""
    return chosen or Path("runs") / experiment_of(config_path)


def fold_folder(run: Path, fold: int) -> Path:
    """Tell where one fold of a run lies."""
    return run / f"fold{fold}"


def has_checkpoints(run: Path) -> bool:
    """Return True if a fold of a run has finished an epoch, perhaps under an earlier version."""
    return any(file.suffix in {".safetensors", ".pt"} for file in run.glob("fold*/*"))


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: itself, or the best one of a fold's folder."""
    for file in (path, path / BEST, path / "best.pt"):  # the last one of an earlier version, which is refused when read
        if file.is_file():
            return file
    if not path.exists():
        msg = f"checkpoint {path}: no such file or folder; give a checkpoint, or a fold's folder such as RUN/fold0"
        raise DataError(msg)
    folds = sorted(folder.parent.name for folder in path.glob(f"*/{BEST}"))
    if folds:
        msg = f"checkpoint {path}: a run of several folds; give one --checkpoint for each, {path / folds[0]} first"
    else:
        msg = f"checkpoint {path}: holds no {BEST}; train this fold until its first validation"
    raise DataError(msg)


def parse_folds(text: str, n: int) -> list[int]:
    """Read which folds a person wants.

    >>> parse_folds("2,0", 5)
    [0, 2]
    """
    if text == "all":
        return list(range(n))
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) < n for word in words):
        msg = f"--fold {text}: there are {n} folds; say all, or numbers from 0 to {n - 1} with commas"
        raise ConfigError(msg)
    return sorted({int(word) for word in words})


DECODE_FILE = "decode.yaml"
OF_CONFIG = "config"  # instead of a file: the config's own values
SECTIONS = ("decode", "postprocess")
ENSEMBLE = "ensemble"  # the folder, and the section


def choose_decode_params(
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
    run_weights = _resolve_runs(file, counted)
    if set(run_weights) != set(runs):
        wanted, found = (" and ".join(sorted(map(str, some))) for some in (run_weights, set(runs)))
        msg = (
            f"{file}: is of checkpoints of {wanted}, as seen from {_home_of(file)}, but these are of {found}; name "
            "theirs, or another --decode"
        )
        raise ConfigError(msg)
    numbers = Counter(runs)
    weights = config.inference.weights or tuple(run_weights[run] / numbers[run] for run in runs)
    return config.model_copy(update={"inference": config.inference.model_copy(update={"weights": weights})}), file


def _left_by_tune(config: Config, runs: set[Path]) -> Path | None:
    """Find what `tune` has left for one run, or for several together."""
    if len(runs) == 1:
        file = next(iter(runs)) / DECODE_FILE
        return file if file.is_file() else None
    if config.inference.weights is not None:  # the config says itself how much each checkpoint counts
        return None
    files = [file for run in sorted(runs) for file in sorted((run / ENSEMBLE).glob(f"*/{DECODE_FILE}"))]
    files = [file for file in files if set(_resolve_runs(file, _load(file).get(ENSEMBLE, {}))) == runs]
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


def name_decode_params(file: Path | None) -> str:
    """Name where decode parameters are from."""
    if file is None:
        return OF_CONFIG
    return "/".join(file.parts[-4 if file.parent.parent.name == ENSEMBLE else -2 :])


def _home_of(file: Path) -> Path:
    """Find the run that the names in an ensemble's file are seen from."""
    return file.absolute().parents[2]


def _resolve_runs(file: Path, counted: Mapping[str, float]) -> dict[Path, float]:
    """Find the runs that an ensemble's file names."""
    return {(_home_of(file) / name).resolve(): weight for name, weight in counted.items()}


def _run_of(checkpoint: Path) -> Path:
    """Find a checkpoint's run; where the file is a link, that of the link."""
    return checkpoint.absolute().parent.parent.resolve()


def run_of(checkpoints: Iterable[Path]) -> Path | None:
    """Find the run that checkpoints are of."""
    runs = {_run_of(file) for file in checkpoints}
    return runs.pop() if len(runs) == 1 else None


def run_decode_params(config: Config, run: Path, *, chosen: str | None) -> tuple[Config, Path | None]:
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
    return validate_config({**plain(config), **tree}, where=str(file)), counted


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


FOLD_COLUMNS = ("id", "fold", "group", "stratum", "kind")


def begin_run(run: Path, config: Config, store: Store, device: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write down what a run is made of; once a checkpoint is there, it holds."""
    _refuse_other_store(config, store)
    if (run / "run.json").exists() and has_checkpoints(run):
        _refuse_other_run(run, config, store)
        return fold_rows(run)
    rows = folds_for(store, config)
    about = {
        "store": str(store.folder),
        "store_hash": store.manifest["identity_sha256"],
        "data": store.manifest["identity"]["data"],
        "config_hash": fingerprint(plain(config)),
        "config": plain(config),
        "device": dict(device),
        "environment": describe_environment(),
    }
    atomic_write(run / "config.yaml", to_yaml(config))
    atomic_write(run / "folds.csv", _to_csv(rows))
    atomic_write(run / "run.json", json.dumps(about, indent=1))
    return rows


def count_folds(config: Config, store_folder: Path) -> int:
    """Tell how many folds there are: those of the folds file where there is one, else the config's."""
    if not config.competition.folds:
        return config.folds.n
    return 1 + max(Store.open(store_folder).folds.values(), default=-1)


def folds_for(store: Store, config: Config) -> list[dict[str, Any]]:
    """Tell which fold each sample is in."""
    if config.competition.folds or store.report["folds"]["settings"] == plain(config.folds):
        return _read_rows(store.folder / "folds.csv")
    return divide([measure_sample(store.read(id_)) for id_ in store.ids], config.folds)


def open_run(run: Path, store_folder: Path | None = None) -> tuple[Config, Store]:
    """Open a run and the store it was trained from."""
    about = describe_run(run)
    store = Store.open(store_folder or Path(about["store"]))
    if store.manifest["identity_sha256"] != about["store_hash"]:
        msg = f"{store.folder} is not the store that {run} was trained from; pass the right one with --store"
        raise DataError(msg)
    return load_config(run / "config.yaml"), store


def fold_rows(run: Path) -> list[dict[str, Any]]:
    """Read which fold of a run each sample is in."""
    describe_run(run)
    return _read_rows(run / "folds.csv")


def validation_ids(run: Path, fold: int) -> list[str]:
    """List the samples that a fold was not trained on."""
    return sorted(row["id"] for row in fold_rows(run) if row["fold"] == fold)


def describe_run(run: Path) -> dict[str, Any]:
    """Read what a run was made of."""
    try:
        about: dict[str, Any] = json.loads((run / "run.json").read_text())
    except (OSError, ValueError) as error:
        msg = f"{run}: no run here ({error}); give the folder that kaggle-unet train wrote, such as runs/dsb2018/quick"
        raise DataError(msg) from error
    return about


def _refuse_other_store(config: Config, store: Store) -> None:
    if changed := changed_keys(config, store):
        msg = (
            f"{store.folder} was made with another config ({', '.join(changed)} differ); run kaggle-unet make-targets "
        )
        raise ConfigError(f"{msg}with this one and another --store, or pass the --store that was")
    open_targets(config, store)


def _refuse_other_run(run: Path, config: Config, store: Store) -> None:
    about = describe_run(run)
    if about["store_hash"] != store.manifest["identity_sha256"]:
        msg = f"{run} was trained from {about['store']}, not {store.folder}; pass that --store or another --run"
        raise ConfigError(msg)
    differences = find_differences(plain(load_config(run / "config.yaml")), plain(config))
    changed = [key for key, _, _ in differences if key not in SAFE_TO_CHANGE]
    if changed:
        msg = f"{run} was made with another config ({', '.join(changed)} differ); pass another --run"
        raise ConfigError(msg)


def _to_csv(rows: Sequence[dict[str, Any]]) -> str:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, FOLD_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{**row, "fold": int(row["fold"]) if row["fold"] else None} for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} can't be read ({error!r}); make its folder again"
        raise DataError(msg) from error
