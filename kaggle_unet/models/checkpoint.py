"""Checkpoints: tensors and plain values in one `.safetensors` file, hashed, replaced atomically.

The header's metadata hold the checkpoint as JSON, in which each tensor is named by its dotted path. The kit's own files
are never unpickled. Beside `best.safetensors` lies `best.safetensors.sha256`, in the format of `sha256sum`, because
safetensors does not notice a flipped bit. While a checkpoint is being replaced, that file lists the old and the new
hash, so that a process killed at any moment leaves a checkpoint that loads.
"""

import hashlib
import json
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kaggle_unet.errors import ConfigError, DataError, KitError, reading, shorten_list
from kaggle_unet.store import atomic_write, find_differences

FORMAT = 2  # 1 was a pickle
SUFFIX = ".safetensors"
Checkpoint = dict[str, Any]
METADATA = "kaggle_unet"
_TENSOR, _BY_NUMBER = "$tensor", "$by_number"  # what JSON cannot express: tensors, and mappings with whole-number keys


def save_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint and its hash; the old one stays intact until the new one is complete.

    The same checkpoint gives the same bytes, whatever the file is called.
    """
    tensors: dict[str, Tensor] = {}
    try:
        tree = json.dumps(_take_tensors(checkpoint, "", tensors))
    except TypeError as error:
        raise KitError(f"checkpoint {path}: can't be written ({error}); store plain values and tensors") from error
    write_hashed(path, safetensors.torch.save(tensors, {METADATA: tree}))


def write_hashed(path: Path, data: bytes) -> None:
    """Write a file with its hash beside it; whenever the process ends, the old or the new file is intact."""
    digest = hashlib.sha256(data).hexdigest()
    beside = hash_file(path)
    old = _listed_hashes(path) if path.exists() and beside.exists() else []
    atomic_write(beside, _hash_lines([digest, *old], path))
    atomic_write(path, data)
    atomic_write(beside, _hash_lines([digest], path))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, along with the `sha256` of its file."""
    refuse_pickle(path)
    if path.is_file() and path.suffix != SUFFIX and not hash_file(path).exists():
        raise DataError(f"checkpoint {path}: expected a {SUFFIX} file of kaggle-unet; give a run, or its checkpoint")
    data, digest = read_hashed(path)
    with reading(f"checkpoint {path}", "copy it again, or give another file"):
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        checkpoint = _put_tensors(json.loads(header.get("__metadata__", {}).get(METADATA, "null")), tensors)
    if not isinstance(checkpoint, dict) or not {"format", "config", "model", "score"} <= checkpoint.keys():
        raise DataError(f"checkpoint {path}: not written by kaggle-unet; give a best{SUFFIX} or last{SUFFIX} of a run")
    if checkpoint["format"] != FORMAT:
        msg = f"checkpoint {path}: has format {checkpoint['format']}, this version of kaggle-unet reads format {FORMAT}"
        raise DataError(f"{msg}; use the version that wrote it, or train again")
    return {**checkpoint, "sha256": digest}


def read_hashed(path: Path) -> tuple[bytes, str]:
    """Read a file that has its hash beside it, and return both."""
    if not path.is_file():
        raise DataError(f"checkpoint {path}: no such file; train the fold first, or give another --checkpoint")
    beside = hash_file(path)
    if not beside.is_file():
        msg = f"checkpoint {path}: {beside.name} is missing; copy it along with the checkpoint, or, if you trust the "
        raise DataError(f"{msg}file, write it with: sha256sum {path.name} > {beside.name}")
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) not in _listed_hashes(path):
        msg = f"checkpoint {path}: damaged, its sha256 is {digest[:12]}… and not what {beside.name} says; copy it again"
        raise DataError(f"{msg}, or use another checkpoint of the run")
    return data, digest


def refuse_other_shapes(path: Path, state: Any, build: Callable[[], nn.Module]) -> None:
    """Refuse tensors that do not match the network that a checkpoint's config describes, before it takes memory."""
    with torch.device("meta"), _WithoutDraws():
        wanted = build().state_dict()
    found = dict(state) if isinstance(state, Mapping) else {}
    names = [name for name, tensor in wanted.items() if getattr(found.get(name), "shape", None) != tensor.shape]
    if names := [*names, *(found.keys() - wanted.keys())]:
        msg = f"checkpoint {path}: {len(names)} tensors are not those of the network that its config describes "
        raise DataError(f"{msg}({', '.join(sorted(names)[:3])}, …); copy it again, or use another checkpoint")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the weights of another network of the same shape."""
    state, wanted = load_checkpoint(path)["model"], model.state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (state, wanted)]
    if differences := [f"{name}: {theirs}, here {own}" for name, theirs, own in find_differences(*shapes)]:
        msg = f"training.start_from: the network of {path} has other tensors than this config's; make model, "
        msg += "input.channels and codec as they were there, or leave it out"
        raise ConfigError("\n  - ".join([msg, *shorten_list(differences)]))
    model.load_state_dict(state)


class _WithoutDraws(TorchFunctionMode):
    """Skips drawing initial weights: for networks that take no memory, torch would import its compiler, in 3 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in {nn.init.normal_, nn.init.uniform_, nn.init.kaiming_normal_, nn.init.kaiming_uniform_}:
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def refuse_pickle(path: Path) -> None:
    """Refuse a checkpoint that an earlier version pickled."""
    if path.suffix == ".pt":
        msg = f"checkpoint {path}: pickled by an earlier version of kaggle-unet; this one reads {SUFFIX} files alone; "
        raise DataError(f"{msg}train the fold again: kaggle-unet train CONFIG --fold N --run ANOTHER_RUN")


def _take_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a tree into a flat mapping, and leave their names in their places."""
    if isinstance(value, Tensor):
        assert name not in tensors, f"two tensors are called {name}"
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        is_last = not value.is_contiguous() and value.dim() == 4  # channels last, for faster steps of the optimiser
        return {_TENSOR: name, "channels_last": True} if is_last else {_TENSOR: name}
    if isinstance(value, Mapping):
        inner = {key: _take_tensors(item, f"{name}.{key}".lstrip("."), tensors) for key, item in value.items()}
        return {_BY_NUMBER: inner} if inner and all(isinstance(key, int) for key in inner) else inner
    if isinstance(value, list | tuple):
        return [_take_tensors(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _put_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `_take_tensors`, each tensor once; tuples come back as lists."""
    if isinstance(tree, list):
        return [_put_tensors(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        layout = torch.channels_last if tree.get("channels_last") else torch.contiguous_format
        return tensors.pop(tree[_TENSOR]).clone(memory_format=layout)
    if _BY_NUMBER in tree:
        return {int(key): _put_tensors(item, tensors) for key, item in tree[_BY_NUMBER].items()}
    return {key: _put_tensors(item, tensors) for key, item in tree.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights that another program wrote."""
    if not path.is_file():
        raise DataError(f"weights {path}: no such file; correct model.encoder_weights, or set it to null")
    with reading(f"weights {path}", "download it again, or give another file"):
        if path.suffix == SUFFIX:
            return safetensors.torch.load_file(path)
        try:
            with warnings.catch_warnings(action="ignore"):  # of odd pickles, which are errors below
                tensors = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            msg = f"weights {path}: can't be read (it holds something other than tensors and plain values, and was "
            raise DataError(f"{msg}not opened); give another file") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(tensors, dict) and isinstance(tensors.get(wrapper), dict):
            tensors = tensors[wrapper]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DataError(f"weights {path}: expected tensors by name, as torch.save(model.state_dict()) writes them")
    return dict(tensors)


def check_compatible(configs: Mapping[Path, Mapping[str, Any]], message: str) -> None:
    """Make sure that networks are shown the same inputs, or raise a `ConfigError` with all differences."""
    (first, reference), *others = configs.items()
    lines = [
        f"{name}: {mine!r} in {first}, {theirs!r} in {path}"
        for path, other in others
        for name, mine, theirs in find_differences(reference.get("input"), other.get("input"), key="input")
    ]
    if lines:
        raise ConfigError("\n  - ".join([message, *shorten_list(lines)]))


def hash_file(path: Path) -> Path:
    """Return the file beside a checkpoint or an exported file that holds its hash."""
    return path.with_name(f"{path.name}.sha256")


def _hash_lines(digests: Sequence[str], path: Path) -> str:
    return "".join(f"{digest}  {path.name}\n" for digest in digests)


def _listed_hashes(path: Path) -> list[str]:
    lines = hash_file(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split()[0] for line in lines if line.strip()]
