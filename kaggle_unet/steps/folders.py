"""Where a config's store and runs lie when nobody says otherwise."""

from pathlib import Path

from kaggle_unet.errors import ConfigError


def experiment_of(config_path: Path) -> Path:
    """Name an experiment by its config's place.

    Parameters
    ----------
    config_path : Path
        Such as `configs/dsb2018/quick.yaml`.

    Returns
    -------
    name : Path
        The path below the innermost folder named `configs`, without suffix; elsewhere the file's folder and stem.

    Examples
    --------
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
    """Tell where the prepared samples of an experiment lie.

    Parameters
    ----------
    config_path : Path
        The experiment's config.
    chosen : Path, optional
        What the command line says.

    Returns
    -------
    folder : Path
        `chosen`, else `store/<experiment>`.
    """
    return chosen or Path("store") / experiment_of(config_path)


def run_folder(config_path: Path, chosen: Path | None) -> Path:
    """Tell where an experiment's checkpoints and planes lie.

    Parameters
    ----------
    config_path : Path
        The experiment's config.
    chosen : Path, optional
        What the command line says.

    Returns
    -------
    folder : Path
        `chosen`, else `runs/<experiment>`.
    """
    return chosen or Path("runs") / experiment_of(config_path)


def fold_folder(run: Path, fold: int) -> Path:
    """Tell where one fold of a run lies.

    Parameters
    ----------
    run : Path
        The run's folder.
    fold : int
        From 0.

    Returns
    -------
    folder : Path
        `RUN/fold<N>`.
    """
    return run / f"fold{fold}"


def parse_folds(text: str, n: int) -> list[int]:
    """Read which folds a person wants.

    Parameters
    ----------
    text : str
        `all`, a number, or several with commas.
    n : int
        How many folds there are.

    Returns
    -------
    folds : list of int
        Ascending, each once.

    Raises
    ------
    ConfigError
        If a fold does not exist.

    Examples
    --------
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
