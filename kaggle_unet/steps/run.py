"""A run's folder: what it was made of, and which samples each fold left out.

::

    RUN/config.yaml       resolved config
    RUN/run.json          store and data with their hashes, config, device, versions, commit, command
    RUN/folds.csv         id, fold, group, stratum, kind
    RUN/fold<N>/          best.pt last.pt metrics.csv curves.png result.json planes/, perhaps snapshot<k>.pt swa.pt
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_unet.config import Config, fingerprint, load_config, plain, to_yaml
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.steps.make_targets import STORE_SECTIONS, divide
from kaggle_unet.steps.record import describe_environment
from kaggle_unet.store import Store, atomic_write, find_differences
from kaggle_unet.training.settings import SAFE_TO_CHANGE

FOLD_COLUMNS = ("id", "fold", "group", "stratum", "kind")


def begin_run(run: Path, config: Config, store: Store, device: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write down what a run is made of; once a checkpoint is there, it holds."""
    _refuse_other_store(config, store)
    if (run / "run.json").exists() and any(run.glob("fold*/*.pt")):
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
    return divide([store.read(id_) for id_ in store.ids], config.folds)


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


def changed_keys(config: Config, store: Store) -> list[str]:
    """Tell in what a config differs from the one that a store was made with."""
    made = {name: store.manifest["identity"][name] for name in STORE_SECTIONS}
    asked = {name: plain(config)[name] for name in STORE_SECTIONS}
    return [key for key, _, _ in find_differences(made, asked)]


def _refuse_other_store(config: Config, store: Store) -> None:
    if changed := changed_keys(config, store):
        msg = (
            f"{store.folder} was made with another config ({', '.join(changed)} differ); run kaggle-unet make-targets "
        )
        msg += "with this one and another --store, or pass the --store that was"
        raise ConfigError(msg)


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
