"""Which decode parameters a prediction takes: a file's, those that `tune` has left in the run, or the config's."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from kaggle_unet.config import Config, plain, validate
from kaggle_unet.errors import ConfigError

DECODE_FILE = "decode.yaml"
OF_CONFIG = "config"  # instead of a file: the config's own values
SECTIONS = ("decode", "postprocess")


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
        A file such as `tune` writes, or `config` for the config's own values. None takes what `tune` has left in the
        run of all the checkpoints, if they are of one run and nothing else is said.
    overrides : sequence of str
        What `--set` says; where it speaks of decoding, the config's values are meant.

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
    if chosen is None and any(
        override.startswith(tuple(f"{section}." for section in SECTIONS)) for override in overrides
    ):
        return config, None
    run = run_of(checkpoints)
    if chosen is None and run is None:
        return config, None
    return decoding_of_run(config, run or Path(), chosen=chosen)


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
    runs = {file.absolute().parent.parent for file in checkpoints}
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
    return _read(config, file), file


def _read(config: Config, file: Path) -> Config:
    try:
        tree: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"--decode {file}: can't be read ({error}); give a file that tune wrote, or the word {OF_CONFIG}"
        raise ConfigError(msg) from error
    if not isinstance(tree, dict) or not tree or not set(tree) <= set(SECTIONS):
        msg = f"--decode {file}: wanted the sections {' and '.join(SECTIONS)}, as kaggle-unet tune writes them"
        raise ConfigError(msg)
    return validate({**plain(config), **tree}, where=str(file))
