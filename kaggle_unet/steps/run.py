"""A run's folder: its config, checkpoints and decode parameters, and the folds that its samples are in.

::

    RUN/config.yaml       resolved config
    RUN/run.json          store and data with their hashes, config, device, versions, commit, command
    RUN/folds.csv         id, fold, group, stratum, kind
    RUN/fold<N>/          best.safetensors last.safetensors metrics.csv curves.png result.json planes/
    RUN/decode.yaml       decode parameters that `tune` found, tied to the checkpoints it searched on

What `tune --with` finds for an ensemble of runs is stored in the first one's folder,
`RUN/ensemble/<others>/decode.yaml`, with a section that gives each run's weight, `ensemble: {.: 1.0, ../other: 0.6}`,
by its path relative to the first.
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from kaggle_unet.config import Config, load_config, parse_config, parse_yaml, plain, to_yaml, validate_config
from kaggle_unet.errors import ConfigError, DataError, suggest_path
from kaggle_unet.io.tables import read_folds, to_csv
from kaggle_unet.models.settings import EXPORTED
from kaggle_unet.steps.data_report import measure_sample
from kaggle_unet.steps.make_targets import changed_keys, divide, open_targets
from kaggle_unet.steps.provenance import describe_environment
from kaggle_unet.store import Store, atomic_write, find_differences, hash_plain, lock, read_record, sha256, write_record
from kaggle_unet.training.settings import BEST, SAFE_TO_CHANGE
from kaggle_unet.types import FULL, DataFrame, Settings, describe_validation_error


def experiment_name(config_path: Path) -> Path:
    """Return the name of an experiment, which follows from its config's path.

    >>> experiment_name(Path("configs/dsb2018/quick.yaml")).as_posix()
    'dsb2018/quick'
    >>> experiment_name(Path("/home/me/cells/mine.yaml")).as_posix()
    'cells/mine'

    A config written by `init` is named after its folder:

    >>> experiment_name(Path("/home/me/cells/config.yaml")).as_posix()
    'cells'
    """
    parts = config_path.absolute().with_suffix("").parts
    if config_path.stem == "config":
        parts = parts[:-1]
    if "configs" in parts:
        start = len(parts) - parts[::-1].index("configs")
        return Path(*parts[start:])
    return Path(*parts[-1 if config_path.stem == "config" else -2 :])


def store_folder(config_path: Path, chosen: Path | None) -> Path:
    """Return the folder of an experiment's prepared samples."""
    return chosen or Path("store") / experiment_name(config_path)


def run_folder(config_path: Path, chosen: Path | None) -> Path:
    """Return the folder of an experiment's checkpoints and planes."""
    return chosen or Path("runs") / experiment_name(config_path)


class Experiment(NamedTuple):
    """What the RUN_OR_CONFIG of a verb stands for."""

    config_path: Path
    config: Config
    run: Path
    store: Path


def open_experiment(
    given: Path,
    overrides: Sequence[str] = (),
    *,
    run: Path | None = None,
    store: Path | None = None,
    may_be_exported: bool = False,
) -> Experiment:
    """Resolve RUN_OR_CONFIG: a run has its config and store, a config its run and store in their usual places.

    A file that `export` wrote stands for a run in verbs that only predict.
    """
    if given.suffix == EXPORTED:
        if not may_be_exported:
            raise ConfigError(f"{given}: segment, submit and predict --data take exported files; give the run instead")
        from kaggle_unet.models.exported import load_exported

        exported = parse_config(json.dumps(load_exported(given)["config"]), overrides, where=str(given))
        return Experiment(given, exported, given, store_folder(given, store))
    if (given / "run.json").is_file():
        if run is not None and run.resolve() != given.resolve():
            raise ConfigError(f"{given} is a run and --run {run} another one; name one of them")
        path = given / "config.yaml"
        return Experiment(path, load_config(path, overrides), given, store or Path(describe_run(given)["store"]))
    for home in (given.parent, given.parent.parent):
        if (home / "run.json").is_file() and given.suffix not in {".yaml", ".yml"}:
            msg = f"{given} is a part of the run {home}; name the run; predict, pseudo-label and submit take this part "
            raise ConfigError(f"{msg}alone with --checkpoint {given}")
    if given.is_dir() or not (given.exists() or given.suffix):
        msg = f"{given}: no run here{_propose_run(given)}; give the folder that kaggle-unet train wrote, or the YAML "
        raise ConfigError(f"{msg}file of a config")
    return Experiment(given, load_config(given, overrides), run_folder(given, run), store_folder(given, store))


def _propose_run(given: Path) -> str:
    runs = [file.parent for depth in ("*", "*/*") for file in Path("runs").glob(f"{depth}/run.json")]
    return suggest_path(given, runs)


def fold_folder(run: Path, fold: int) -> Path:
    """Return the folder of one fold."""
    return run / ("full" if fold == FULL else f"fold{fold}")


def has_checkpoints(run: Path) -> bool:
    """Return whether any fold of a run has finished an epoch, perhaps under an earlier version."""
    files = (*run.glob("fold*/*"), *fold_folder(run, FULL).glob("*"))
    return any(file.suffix in {".safetensors", ".pt"} for file in files)


def find_checkpoints(paths: Iterable[Path]) -> list[Path]:
    """Find the checkpoints at paths: a file, a fold's folder (its best), a run (each fold's best, else full's)."""
    return list(dict.fromkeys(file for path in paths for file in _checkpoints_at(path)))


def _checkpoints_at(path: Path) -> list[Path]:
    for file in (path, path / BEST, path / "best.pt"):  # the last, of an earlier version, is refused when read
        if file.is_file():
            return [file]
    if not path.exists():
        raise DataError(f"{path}: no such checkpoint, fold or run; train it first, or give another --checkpoint")
    for name in (BEST, "best.pt"):
        numbered = {file.parent.name.removeprefix("fold"): file for file in path.glob(f"fold*/{name}")}
        if files := [numbered[number] for number in sorted(filter(str.isdigit, numbered), key=int)]:
            return files
    if (full := fold_folder(path, FULL) / BEST).is_file():
        return [full]
    msg = f"{path}: no fold has a {BEST}" if (path / "run.json").exists() else f"checkpoint {path}: has no {BEST}"
    msg += "; train until the first validation, or give another --checkpoint"
    raise DataError(msg)


def checkpoint_run(checkpoint: Path) -> Path:
    """Return a checkpoint's run, or that of the link if the file is one; an exported file is its own run."""
    if checkpoint.suffix == EXPORTED:
        return checkpoint.resolve()
    return checkpoint.absolute().parent.parent.resolve()


def parse_folds(text: str, n: int) -> list[int]:
    """Parse the fold numbers of --fold.

    >>> parse_folds("2,0", 5)
    [0, 2]
    """
    if not text:
        raise ConfigError("train: choose the fold to hold out with --fold N, or use --fold all")
    if text in {"all", "full"}:
        return [FULL] if text == "full" else list(range(n))
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) < n for word in words):
        msg = f"--fold {text}: there are {n} folds; give all, full, or numbers from 0 to {n - 1} separated by commas"
        raise ConfigError(msg)
    return sorted({int(word) for word in words})


DECODE_FILE = "decode.yaml"
OF_CONFIG = "config"  # instead of a file: the config's own values
SECTIONS = ("decode", "postprocess")
ENSEMBLE = "ensemble"  # the folder, and the section
Views = Mapping[str, Any]  # prediction settings that change planes


class DecodeFile(Settings):
    """What `tune` writes: sections that replace a config's own as a whole, and what they were searched on."""

    decode: dict[str, Any] | None = None
    postprocess: dict[str, Any] | None = None
    ensemble: dict[str, Annotated[float, Field(ge=0)]] = Field({})  # the weight of each of several runs
    codec: str | None = None  # its name; None in a file of an earlier version, like the next
    checkpoints: list[str] | None = None  # hashes
    views: list[Views] = Field([])  # how their planes were predicted; several if runs differ


def choose_decode_params(
    config: Config, runs: Sequence[Path], *, chosen: str | None, overrides: Sequence[str] = ()
) -> tuple[Config, Path | None]:
    """Choose decode parameters for checkpoints of these runs: from a file, those left by `tune`, or the config's."""
    said = tuple(f"{section}." for section in SECTIONS)
    if chosen == OF_CONFIG or (chosen is None and any(override.startswith(said) for override in overrides)):
        return config, None
    file = _left_by_tune(config, runs) if chosen is None else Path(chosen)
    if file is None:
        return config, None
    found = _load(file)
    sections = found.model_dump(include=set(SECTIONS), exclude_none=True)
    hint = "" if chosen else f" (--decode {OF_CONFIG} leaves it out)"
    config = validate_config({**plain(config), **sections}, where=f"{file}{hint}")
    if not found.ensemble:
        return config, file
    runs = [run.resolve() for run in runs]
    run_weights = _resolve_runs(file, found.ensemble)
    if set(run_weights) != set(runs):
        wanted, given = (" and ".join(sorted(map(str, some))) for some in (run_weights, set(runs)))
        msg = f"{file}: belongs to checkpoints of {wanted}, but these are of {given}; give those checkpoints, or "
        raise ConfigError(f"{msg}another --decode")
    numbers = Counter(runs)
    weights = config.inference.weights or tuple(run_weights[run] / numbers[run] for run in runs)
    return config.model_copy(update={"inference": config.inference.model_copy(update={"weights": weights})}), file


def check_decode_params(file: Path | None, checkpoints: Collection[str], config: Config, *views: Views) -> list[str]:
    """Return warnings if decode parameters were searched for another codec, other checkpoints, or other views."""
    if file is None:
        return []
    found, where, again, remarks = _load(file), name_decode_params(file), "run kaggle-unet tune again", list[str]()
    if found.codec not in {None, codec := config.codec.name}:
        remarks.append(f"{where} was searched for the codec {found.codec}, not {codec}; leave it out: --decode config")
    for name in sorted({name for searched in found.views for name in searched}):
        of_planes = views or [plain(config)["inference"]]
        theirs, mine = ({str(some.get(name)): None for some in those} for those in (found.views, of_planes))
        if theirs.keys() != mine.keys():
            msg = f"{where} was searched on planes predicted with inference.{name} {' and '.join(theirs)}, these with "
            msg += f"{' and '.join(mine)}; run kaggle-unet predict --oof with the same settings, and tune again"
            remarks.append(msg)
    if file.suffix == EXPORTED:
        return remarks
    if found.checkpoints is None:
        return [*remarks, f"{where} does not record the checkpoints it was searched with; {again} to tie it to them"]
    others = len(set(checkpoints) - set(found.checkpoints))
    return [*remarks, f"{where} was searched without {others} of these checkpoints; {again}"] if others else remarks


def _left_by_tune(config: Config, runs: Sequence[Path]) -> Path | None:
    """Return the file that `tune` has left for one run, or for several together."""
    homes = {run.resolve() for run in runs}
    if len(homes) == 1:
        if runs[0].suffix == EXPORTED:
            return runs[0]
        return file if (file := runs[0] / DECODE_FILE).is_file() else None
    if config.inference.weights is not None:  # the config itself says how much each checkpoint counts
        return None
    files = [file for run in sorted(homes) for file in sorted((run / ENSEMBLE).glob(f"*/{DECODE_FILE}"))]
    files = [file for file in files if set(_resolve_runs(file, _load(file).ensemble)) == homes]
    if len(files) > 1:
        found = " and ".join(map(str, files))
        msg = f"tune has left {len(files)} decodings for these runs: {found}; name one of them with --decode"
        raise ConfigError(msg)
    return files[0] if files else None


def name_run(run: Path, other: Path) -> str:
    """Return the relative path from one run to another."""
    return Path(os.path.relpath(other.resolve(), run.resolve())).as_posix()


def ensemble_folder(run: Path, others: Sequence[Path]) -> Path:
    """Return the folder in which `tune` leaves what it finds for several runs together."""
    names = sorted(name_run(run, other) for other in others)
    shown = "+".join(sorted(other.resolve().name for other in others))
    return run / ENSEMBLE / f"{shown}-{hash_plain(names)[:6]}"


def name_decode_params(file: Path | None) -> str:
    """Return the last parts of the path of a decode file, or the word for the config's own parameters."""
    if file is None:
        return OF_CONFIG
    return "/".join(file.parts[-4 if file.parent.parent.name == ENSEMBLE else -2 :])


def _resolve_runs(file: Path, counted: Mapping[str, float]) -> dict[Path, float]:
    """Return the runs named in an ensemble's file, relative to the run it lies in, with their weights."""
    home = file.absolute().parents[2]
    return {(home / name).resolve(): weight for name, weight in counted.items()}


def _load(file: Path) -> DecodeFile:
    if file.suffix == EXPORTED:
        from kaggle_unet.models.exported import load_exported

        config = load_exported(file)["config"]
        return DecodeFile(codec=config["codec"]["name"], **{section: config[section] for section in SECTIONS})
    try:
        found = DecodeFile.model_validate(parse_yaml(file.read_text(encoding="utf-8"), str(file)), strict=True)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: can't be read ({error}); give --decode a file that tune wrote, or the word {OF_CONFIG}"
        raise ConfigError(msg) from error
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, DecodeFile, str(file))) from None
    if found.ensemble and not any(found.ensemble.values()):
        raise ConfigError(f"{file}: the weights of {ENSEMBLE} are all 0; at least one must be above 0")
    return found


def begin_run(run: Path, config: Config, store: Store, added: Sequence[Store], device: Mapping[str, Any]) -> DataFrame:
    """Record what a run is made from; once it has a checkpoint, refuse anything else."""
    if changed := changed_keys(config, store):
        msg = f"{store.folder} was made with another config ({', '.join(changed)} differ); run kaggle-unet "
        raise ConfigError(f"{msg}make-targets with this one and another --store, or pass the --store that was")
    open_targets(config, store)
    with lock(run, wait_s=60):  # another fold may begin at this moment
        if (run / "run.json").exists() and has_checkpoints(run):
            refuse_other_run(run, config, store, added)
            return run_folds(run)
        folds = folds_for(store, config)
        about = {
            "store": str(store.folder),
            "store_hash": store.manifest["identity_sha256"],
            "data": store.manifest["identity"]["data"],
            "config_hash": hash_plain(plain(config)),
            "config": plain(config),
            "device": dict(device),
            "environment": describe_environment(),
            **({"added_stores": [_describe_added(other) for other in added]} if added else {}),
        }
        atomic_write(run / "config.yaml", to_yaml(config))
        atomic_write(run / "folds.csv", to_csv(folds))
        write_record(run / "run.json", {**about, "folds_sha256": sha256(run / "folds.csv")})
        return folds


def count_folds(config: Config, store_folder: Path) -> int:
    """Return the number of folds: that of the folds file if there is one, else the config's."""
    if not config.competition.folds:
        return config.folds.n
    return 1 + max(Store.open(store_folder).folds.values(), default=-1)


def folds_for(store: Store, config: Config) -> DataFrame:
    """Return which fold each sample is in."""
    if config.competition.folds or store.report["folds"]["settings"] == plain(config.folds):
        return store.read_folds()
    names = config.codec.classes or ()
    return divide([measure_sample(store.read(id_), classes=names) for id_ in store.ids], config.folds)


def open_run(run: Path, store_folder: Path | None = None) -> tuple[Config, Store]:
    """Open a run and the store it was trained from."""
    about = describe_run(run)
    store = Store.open(store_folder or Path(about["store"]))
    if store.manifest["identity_sha256"] != about["store_hash"]:
        msg = f"{store.folder}, made of {store.manifest['about'].get('data')}, is not the store that {run} was trained "
        msg += f"from, which was in {about['store']}; pass the right one with --store"
        raise DataError(msg)
    return load_config(run / "config.yaml"), store


def run_folds(run: Path) -> DataFrame:
    """Read which fold of a run each sample is in."""
    return read_folds(run / "folds.csv", describe_run(run).get("folds_sha256"))


def validation_ids(run: Path, fold: int) -> list[str]:
    """List the samples that a fold was not trained on."""
    folds = run_folds(run)
    return sorted(folds["id"][folds["fold"] == fold])


def describe_run(run: Path) -> dict[str, Any]:
    """Read what a run was made from."""
    if not (run / "run.json").exists():
        msg = f"{run}: no run here (it has no run.json){_propose_run(run)}; make one with kaggle-unet train CONFIG"
        raise DataError(f"{msg} --fold 0, or give another")
    about = read_record(run / "run.json", cure := "copy the run again, or train another one")
    if "store_hash" not in about:
        raise DataError(f"{run / 'run.json'} does not say which store it was trained on, so it is damaged; {cure}")
    return about


def _describe_added(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    data = manifest["identity"]["data"]
    return {"store": str(store.folder), "hash": manifest["identity_sha256"], "data": data, "samples": len(store.ids)}


def retrain_hint(folder: Path) -> str:
    """Return how to train anew if a run, or a fold, is in the way."""
    return f"give another --run (in a plan, another name) or remove {folder} to train anew"


def refuse_other_run(run: Path, config: Config, store: Store, added: Sequence[Store]) -> None:
    """Refuse to train a run with anything other than what it was begun with."""
    about, anew = describe_run(run), retrain_hint(run)
    if about["store_hash"] != store.manifest["identity_sha256"]:
        raise ConfigError(f"{run} was trained from {about['store']}, not {store.folder}; pass that --store, or {anew}")
    differences = find_differences(plain(load_config(run / "config.yaml")), plain(config))
    if changed := [key for key, _, _ in differences if key not in SAFE_TO_CHANGE]:
        raise ConfigError(f"{run} was made with another config ({', '.join(changed)} differ); {anew}")
    before = about.get("added_stores", [])
    if [entry["hash"] for entry in before] != [other.manifest["identity_sha256"] for other in added]:
        names = ", ".join(entry["store"] for entry in before) or "none"
        raise ConfigError(f"{run} was trained with other added stores ({names}); give those by --add-store, or {anew}")
