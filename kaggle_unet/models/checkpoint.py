"""Checkpoints on disk: plain values and tensors, hashed, replaced as a whole.

Beside `best.pt` lies `best.pt.sha256`, in the format of `sha256sum`, because neither torch nor safetensors notices a
flipped bit. While a checkpoint is being replaced that file lists the old and the new hash, so that a process killed at
any moment leaves a checkpoint that loads. Nothing that is read can run code.
"""

import hashlib
import io
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaggle_unet.errors import ConfigError, DataError, KitError
from kaggle_unet.store import atomic_write, find_differences, sha256

FORMAT = 1
Checkpoint = dict[str, Any]
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError)


def save_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint and its hash; the old one stays whole until the new one is.

    The same checkpoint gives the same bytes, whatever the file is called.
    """
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    buffer.seek(0)
    if foreign := torch.serialization.get_unsafe_globals_in_checkpoint(buffer):
        msg = f"checkpoint {path}: holds {', '.join(foreign)}, which can't be read back; store plain values and tensors"
        raise KitError(msg)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    beside = _hash_file(path)
    old = _listed_hashes(path) if path.exists() and beside.exists() else []
    atomic_write(beside, _hash_lines([digest, *old], path))
    atomic_write(path, data)
    atomic_write(beside, _hash_lines([digest], path))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, onto the CPU."""
    if not path.is_file():
        msg = f"checkpoint {path}: no such file; train the fold first, or give another --checkpoint"
        raise DataError(msg)
    beside = _hash_file(path)
    if not beside.is_file():
        msg = f"checkpoint {path}: {beside.name} is missing; copy it along with the checkpoint, or, if you trust the "
        msg += f"file, write it with: sha256sum {path.name} > {beside.name}"
        raise DataError(msg)
    if (digest := sha256(path)) not in _listed_hashes(path):
        msg = f"checkpoint {path}: damaged, its sha256 is {digest[:12]}… and not what {beside.name} says; copy it again"
        msg += ", or use another checkpoint of the run"
        raise DataError(msg)
    checkpoint = _load_pickle(path, "checkpoint")
    if not isinstance(checkpoint, dict) or not {"format", "config", "model"} <= checkpoint.keys():
        msg = f"checkpoint {path}: not written by kaggle-unet; give a best.pt or last.pt of a run"
        raise DataError(msg)
    if checkpoint["format"] != FORMAT:
        msg = (
            f"checkpoint {path}: has format {checkpoint['format']}, this version of kaggle-unet reads format {FORMAT}; "
        )
        msg += "use the version that wrote it, or train again"
        raise DataError(msg)
    return checkpoint


def find_checkpoint(path: Path) -> Path:
    """Find the checkpoint a path means."""
    if path.is_file():
        return path
    best = path / "best.pt"
    if best.is_file():
        return best
    if not path.exists():
        msg = f"checkpoint {path}: no such file or folder; give a checkpoint, or a fold's folder such as RUN/fold0"
        raise DataError(msg)
    folds = sorted(folder.parent.name for folder in path.glob("*/best.pt"))
    if folds:
        msg = f"checkpoint {path}: a run of several folds; give one --checkpoint for each, {path / folds[0]} first"
    else:
        msg = f"checkpoint {path}: holds no best.pt; train this fold until its first validation"
    raise DataError(msg)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights that somebody else wrote."""
    if not path.is_file():
        msg = f"weights {path}: no such file; correct model.encoder_weights, or set it to null"
        raise DataError(msg)
    if path.suffix == ".safetensors":
        tensors = _load_safetensors(path)
    else:
        tensors = _load_pickle(path, "weights")
        for wrapper in ("state_dict", "model"):
            if isinstance(tensors, dict) and isinstance(tensors.get(wrapper), dict):
                tensors = tensors[wrapper]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        msg = f"weights {path}: wanted tensors by name, as torch.save(model.state_dict()) writes them"
        raise DataError(msg)
    return dict(tensors)


def check_compatible(checkpoints: Mapping[Path, Checkpoint], keys: Sequence[str] = ("codec.name", "input")) -> None:
    """Make sure that the predictions of checkpoints can be averaged."""
    (first, reference), *others = checkpoints.items()
    lines = [
        f"{name}: {mine!r} in {first}, {theirs!r} in {path}"
        for path, other in others
        for key in keys
        for name, mine, theirs in find_differences(_lookup(reference, key), _lookup(other, key), key=key)
    ]
    if lines:
        msg = "\n  - ".join(["checkpoints can't be averaged; predict and submit them apart, or leave some out", *lines])
        raise ConfigError(msg)


def _lookup(checkpoint: Checkpoint, key: str) -> Any:
    value: Any = checkpoint["config"]
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _load_pickle(path: Path, what: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd pickles, which are errors below
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds something else than tensors and plain values, and was not opened"
        msg = f"{what} {path}: can't be read ({reason}); copy it again, or give another file"
        raise DataError(msg) from error


def _load_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"weights {path}: can't be read ({error}); download it again"
        raise DataError(msg) from error


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _hash_lines(digests: Sequence[str], path: Path) -> str:
    return "".join(f"{digest}  {path.name}\n" for digest in digests)


def _listed_hashes(path: Path) -> list[str]:
    lines = _hash_file(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split()[0] for line in lines if line.strip()]
