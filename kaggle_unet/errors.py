"""Exceptions and their exit codes.

::

    KitError               1   a bug, or a failure outside our control: a dead worker
    ├── ConfigError        2   the command or the config asks for something impossible
    ├── DataError          3   a file is missing, damaged, or not what its name says
    ├── ResourceError      4   no disk, no memory, no permission
    ├── LockedError        5   another process is working in this folder
    └── TrainingFailure    1   a loss that is not finite or grows without bounds (training.failures)

Every message says what was given, what was expected and what to do, and names the file. Interrupted commands exit with
130 (SIGINT) or 143 (SIGTERM).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from mmap import mmap
from pathlib import Path
from types import ModuleType

MOST_SHOWN = 5
_LEAST_BYTES = 2**30  # tried before every verb


def shorten_list(texts: Sequence[str], *, hint: str = "") -> list[str]:
    """Return the first few texts, and how many more there are."""
    more = len(texts) - MOST_SHOWN
    return [*texts[:MOST_SHOWN], *([f"… and {more} more{hint}"] if more > 0 else [])]


def suggest_path(given: str | Path, there: Sequence[Path]) -> str:
    """Name the existing path that is most similar to `given`, or else a few of them, as the end of a message."""
    names = list(dict.fromkeys(map(str, there)))
    close = get_close_matches(str(given), names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(shorten_list(names))}" if names else ""


class KitError(Exception):
    """Base of all errors with a message for the user; raised directly for a bug, or a failure outside our control.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> try:
    ...     ku.read_folder("nowhere")
    ... except ku.KitError as error:
    ...     type(error).__name__, error.exit_code
    ('DataError', 3)
    """

    exit_code = 1


class ConfigError(KitError):
    """The command line, the config or an argument asks for something impossible.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> ku.read_competition("carvana", "train.zip")
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.ConfigError: --competition: competition.name is 'carvana': input should be 'dsb2018', ...
    """

    exit_code = 2


class DataError(KitError):
    """Files or arrays are missing or damaged, or contradict each other.

    Parameters
    ----------
    message : str
        What was given, what was expected, what to do.
    problems : sequence of str
        All problems found; the message shows the first five.

    Examples
    --------
    >>> import numpy as np
    >>> import kaggle_unet as ku
    >>> ku.relabel(np.array([[0.5]]))
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.DataError: labels of dtype float64; ...
    """

    exit_code = 3

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  - ".join([message, *shorten_list(self.problems, hint="; --json lists them all")]))


class ResourceError(KitError):
    """Disk space, memory or a permission is lacking.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> ku.ResourceError.exit_code
    4
    """

    exit_code = 4


class LockedError(KitError):
    """Another process holds the run, the store or the folder of planes.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> ku.LockedError.exit_code
    5
    """

    exit_code = 5


@contextmanager
def reading(what: object, cure: str) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged file into a `DataError`; the exception's type depends on the damage.

    >>> with reading("run.json", "train again"):
    ...     {}["store"]
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.DataError: run.json is damaged (KeyError: 'store'); train again
    """
    try:
        yield
    except KitError:
        raise
    except MemoryError as error:
        raise DataError(f"{what} needs more memory than there is, or is damaged; {cure}") from error
    except OSError as error:
        raise DataError(f"{what} can't be read ({error.strerror or error}); {cure}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(f"{what} is damaged ({reason}); {cure}") from error


def refuse_little_memory() -> None:
    """Refuse to start if a GiB can't be had: before long, C libraries would end the process without a word."""
    try:
        mmap(-1, _LEAST_BYTES).close()
    except OSError as error:
        msg = f"under {_LEAST_BYTES >> 30} GiB of memory can be had; end other programs, or raise its limit (ulimit -v)"
        raise ResourceError(msg) from error


def import_extra(name: str, extra: str = "formats", user: str = "this format") -> ModuleType:
    """Import a library that belongs to an extra, or say how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        msg = f"{user} needs {library} ({error}); install it with: .venv/bin/pip install -e '.[{extra}]'"
        raise ConfigError(msg) from error
