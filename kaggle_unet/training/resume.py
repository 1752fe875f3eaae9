"""A training between two processes: what is saved after each epoch, and how the next process goes on from it.

A checkpoint holds the network, the optimiser, torch's random state and the history. Everything else follows: the order
and augmentation of an epoch from its number, the learning rate, the best epoch and the patience left from the history.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kaggle_unet.store import find_differences
from kaggle_unet.training.history import Row, best_row
from kaggle_unet.training.loop import Learner

BEST, LAST = "best.pt", "last.pt"
SAFE_TO_CHANGE = ("training.workers", "training.threads")


def save_epoch(folder: Path, learner: Learner, config: Mapping[str, Any], history: Sequence[Row]) -> bool:
    """Save the state after a whole epoch.

    Parameters
    ----------
    folder : Path
        The fold's; `last.pt` is written, and `best.pt` if this epoch is the best.
    learner : Learner
        Not changed.
    config : mapping
        Plain values.
    history : sequence of Row
        This epoch's row is the last.

    Returns
    -------
    is_best : bool
        Whether `best.pt` was written.

    Notes
    -----
    `best.pt` holds no optimiser: it is to predict with. It is written first. A process killed between the two files
    repeats the epoch when it resumes, and writes the same `best.pt` again; the other way round it could be lost.
    """
    row = history[-1]
    score = row["valid_score"]
    shared = {
        "format": 1,
        "config": dict(config),
        "model": learner.network.state_dict(),
        "epoch": len(history),
        "score": score,
        "history": [dict(row) for row in history],
    }
    is_best = score is not None and best_row(history) is row
    if is_best:
        save_checkpoint(folder / BEST, {**shared, "optimizer": None, "schedule": None, "rng": None, "scaler": None})
    state = {
        "optimizer": learner.optimizer.state_dict(),
        "schedule": None,
        "rng": _random_state(),
        "scaler": learner.scaler_state(),
    }
    save_checkpoint(folder / LAST, {**shared, **state})
    return is_best


def find_previous(folder: Path, config: Mapping[str, Any], *, resume: bool) -> Checkpoint | None:
    """Load what a fold goes on from.

    Parameters
    ----------
    folder : Path
        The fold's.
    config : mapping
        Plain values; of the keys in `SAFE_TO_CHANGE` any value will do.
    resume : bool
        Whether the fold is meant to go on.

    Returns
    -------
    checkpoint : dict or None
        None for a fold that begins.

    Raises
    ------
    ConfigError
        If there is nothing to go on from, or something although the fold is to begin, or another config made it.
    DataError
        If the checkpoint is damaged.
    """
    last = folder / LAST
    if not resume:
        found = [name for name in (LAST, BEST) if (folder / name).exists()]
        if found:
            msg = f"{folder} already holds {found[0]}; pass --resume to go on with it, or another --run to begin anew"
            raise ConfigError(msg)
        return None
    if not last.exists():
        msg = f"--resume: {last} does not exist, so there is nothing to go on from; leave out --resume to begin"
        raise ConfigError(msg)
    checkpoint = load_checkpoint(last)
    changed = [
        f"{key}: was {before!r}, is {now!r}"
        for key, before, now in find_differences(checkpoint["config"], dict(config))
        if key not in SAFE_TO_CHANGE
    ]
    if changed:
        head = f"--resume: {last} was trained with another config; change it back, or pass another --run to begin anew"
        raise ConfigError("\n  - ".join([head, *changed]))
    return checkpoint


def restore(checkpoint: Checkpoint, learner: Learner) -> list[Row]:
    """Put a learner into the state after the checkpoint's epoch.

    Parameters
    ----------
    checkpoint : dict
        From `last.pt`.
    learner : Learner
        Changed; torch's random state is, too.

    Returns
    -------
    history : list of Row
        The epochs so far.
    """
    learner.network.load_state_dict(checkpoint["model"])
    learner.optimizer.load_state_dict(checkpoint["optimizer"])
    learner.load_scaler_state(checkpoint["scaler"])
    torch.set_rng_state(checkpoint["rng"]["cpu"])
    if len(checkpoint["rng"]["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(checkpoint["rng"]["cuda"])
    return list(checkpoint["history"])


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}
