"""Resuming a training: what is saved after each epoch, and how the next process continues from it.

A checkpoint holds the network, its averages, the optimiser, torch's random state and the history. Everything else is
derived: the order and augmentation of an epoch from its number; the learning rate, the best epoch and the remaining
patience from the history.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import FORMAT, SUFFIX, Checkpoint, load_checkpoint, refuse_pickle, save_checkpoint
from kaggle_unet.store import find_differences
from kaggle_unet.training.history import Row, best_row
from kaggle_unet.training.schedules import cycle_ends
from kaggle_unet.training.settings import BEST, LAST, MEAN, SAFE_TO_CHANGE, TrainingSettings
from kaggle_unet.training.step import Learner


def save_epoch(
    folder: Path, learner: Learner, settings: TrainingSettings, config: Mapping[str, Any], history: Sequence[Row]
) -> bool:
    """Save the state after a whole epoch.

    The best checkpoint and the snapshots hold the validated weights and no optimiser. They are written first: a process
    killed before the last one is written repeats the epoch on resuming; in the other order they could be lost.
    """
    row = history[-1]
    epoch = len(history)
    eval_model = {**_describe(config, history, row["valid_score"]), "model": learner.eval_model.state_dict()}
    ends = cycle_ends(settings.schedule, settings.epochs)
    if epoch in ends:
        save_checkpoint(folder / snapshot_name(ends.index(epoch) + 1), eval_model)
    is_best = row["valid_score"] is not None and best_row(history, settings.monitor) is row
    if is_best:
        save_checkpoint(folder / BEST, eval_model)
    state = {
        "optimizer": learner.optimizer.state_dict(),
        "rng": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
        "scaler": learner.scaler_state(),
        "averages": learner.averages.state(),
    }
    save_checkpoint(folder / LAST, {**eval_model, "model": learner.network.state_dict(), **state})
    return is_best


def save_mean(folder: Path, mean: nn.Module, config: Mapping[str, Any], history: Sequence[Row], score: float) -> None:
    """Save the mean over epochs for use in predictions."""
    save_checkpoint(folder / MEAN, {**_describe(config, history, score), "model": mean.state_dict()})


def snapshot_name(number: int) -> str:
    """Return the name of the checkpoint saved after a cycle."""
    return f"snapshot{number}{SUFFIX}"


def _describe(config: Mapping[str, Any], history: Sequence[Row], score: float | None) -> dict[str, Any]:
    return {"format": FORMAT, "config": dict(config), "epoch": len(history), "score": score, "history": list(history)}


def find_previous(folder: Path, config: Mapping[str, Any], *, resume: bool) -> Checkpoint | None:
    """Load the checkpoint that a fold resumes from, or refuse to overwrite one."""
    for old in folder.glob("*.pt"):
        refuse_pickle(old)
    last = folder / LAST
    if not resume:
        if found := [name for name in (LAST, BEST) if (folder / name).exists()]:
            msg = f"{folder} already holds {found[0]}; pass --resume (resume=True in Python) to continue it, or "
            raise ConfigError(f"{msg}another --run (folder) to start anew")
        return None
    if not last.exists():
        msg = f"--resume: {last} does not exist, so there is nothing to resume; leave out --resume to start anew"
        raise ConfigError(msg)
    checkpoint = load_checkpoint(last)
    changed = [
        f"{key}: was {before!r}, is {now!r}"
        for key, before, now in find_differences(checkpoint["config"], dict(config))
        if key not in SAFE_TO_CHANGE and _knows(checkpoint["config"], key)
    ]
    if changed:
        head = f"--resume: {last} was trained with another config; change it back, or pass another --run to begin anew"
        raise ConfigError("\n  - ".join([head, *changed]))
    return checkpoint


def _knows(tree: Any, key: str) -> bool:
    """Return True if a config has a key, even with the value None."""
    for name in key.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return False
        tree = tree[name]
    return True


def restore(checkpoint: Checkpoint, learner: Learner) -> list[Row]:
    """Put a learner into the state after the checkpoint's epoch."""
    learner.network.load_state_dict(checkpoint["model"])
    learner.optimizer.load_state_dict(checkpoint["optimizer"])
    learner.averages.load_state(checkpoint["averages"])
    learner.load_scaler_state(checkpoint["scaler"])
    torch.set_rng_state(checkpoint["rng"]["cpu"])
    if len(checkpoint["rng"]["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(checkpoint["rng"]["cuda"])
    return list(checkpoint["history"])
