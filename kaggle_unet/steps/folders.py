"""Where a config's store and runs lie when nobody says otherwise."""

from pathlib import Path

from kaggle_unet.errors import ConfigError


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
