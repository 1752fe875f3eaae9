import hashlib
import io
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from kaggle_unet.errors import ConfigError, DataError, KitError
from kaggle_unet.models import checkpoint as module
from kaggle_unet.models.checkpoint import (
    check_compatible,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
)


def make(epoch=3, **changes):
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    return {
        "format": 2,
        "config": {"codec": {"name": "mask"}, "input": {"channels": ["gray"]}},
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": epoch,
        "score": 0.5,
        "history": [{"epoch": epoch, "loss": 0.25}],
        "rng": {"torch": torch.get_rng_state(), "python": list(random.Random(0).getstate()[1])},
        **changes,
    }


def write_hash(path):
    path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


def test_what_is_saved_comes_back(tmp_path):
    saved = make()
    save_checkpoint(tmp_path / "best.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "best.safetensors")
    assert loaded.pop("sha256") == hashlib.sha256((tmp_path / "best.safetensors").read_bytes()).hexdigest()
    assert loaded.keys() == saved.keys()
    for key in ("format", "config", "epoch", "score", "history"):
        assert loaded[key] == saved[key]
    assert all(torch.equal(loaded["model"][key], value) for key, value in saved["model"].items())
    assert torch.equal(loaded["rng"]["torch"], saved["rng"]["torch"])
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 3).parameters())
    optimizer.load_state_dict(loaded["optimizer"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "best.safetensors.sha256"]


def test_the_hash_beside_it_is_what_sha256sum_checks(tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", make())
    save_checkpoint(tmp_path / "best.safetensors", make(epoch=4))
    digest = hashlib.sha256((tmp_path / "best.safetensors").read_bytes()).hexdigest()
    assert (tmp_path / "best.safetensors.sha256").read_text() == f"{digest}  best.safetensors\n"


def test_one_checkpoint_gives_one_file_whatever_its_name(tmp_path):
    saved = make()
    for name in ("best.safetensors", "a_longer_name.safetensors"):
        save_checkpoint(tmp_path / name, saved)
    assert (tmp_path / "best.safetensors").read_bytes() == (tmp_path / "a_longer_name.safetensors").read_bytes()


@pytest.mark.parametrize("n_writes", [0, 1, 2])
def test_a_save_stopped_between_any_two_writes_leaves_a_checkpoint_that_loads(tmp_path, monkeypatch, n_writes):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, make(epoch=1))
    write, done = module.atomic_write, []

    def stop_after(target, data):
        if len(done) == n_writes:
            raise KeyboardInterrupt
        write(target, data)
        done.append(target)

    monkeypatch.setattr(module, "atomic_write", stop_after)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, make(epoch=2))
    assert load_checkpoint(path)["epoch"] == (1 if n_writes < 2 else 2)
    monkeypatch.undo()
    save_checkpoint(path, make(epoch=3))
    assert load_checkpoint(path)["epoch"] == 3


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found(tmp_path, place):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, make())
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"best\.safetensors: damaged.*copy it again"):
        load_checkpoint(path)


def test_a_truncated_file_is_found_even_under_its_own_hash(tmp_path):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, make())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(path)
    write_hash(path)
    with pytest.raises(DataError, match=r"best\.safetensors is damaged"):
        load_checkpoint(path)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("name", ["best.safetensors", "best.pt"])
def test_a_pickle_is_refused_and_its_code_never_run(tmp_path, name, as_zip):
    path, sentinel = tmp_path / name, tmp_path / "sentinel"
    evil = make(model=Touch(sentinel))
    if as_zip:
        torch.save(evil, path)
    else:
        path.write_bytes(pickle.dumps(evil))
    write_hash(path)
    message = r"best\.safetensors is damaged" if path.suffix != ".pt" else r"best\.pt: pickled by an earlier version.*"
    with pytest.raises(DataError, match=message):
        load_checkpoint(path)
    assert not sentinel.exists()
    torch.load(io.BytesIO(path.read_bytes()), weights_only=False) if as_zip else pickle.loads(path.read_bytes())
    assert sentinel.exists(), "the file was harmful"


def test_a_file_of_another_project_is_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    save_file({"weight": torch.ones(1)}, path)
    write_hash(path)
    with pytest.raises(DataError, match="not written by kaggle-unet"):
        load_checkpoint(path)


@pytest.mark.parametrize("change", [lambda made: made.pop("score"), lambda made: made.update(format=[2])])
def test_a_checkpoint_that_lacks_what_is_read_from_it_is_refused(tmp_path, change):
    made = make()
    change(made)
    save_checkpoint(tmp_path / "best.safetensors", made)
    with pytest.raises(DataError, match=r"best\.safetensors: (not written by kaggle-unet|has format \[2\])"):
        load_checkpoint(tmp_path / "best.safetensors")


def test_a_tensor_that_is_named_again_and_again_takes_no_memory(tmp_path):
    path = tmp_path / "best.safetensors"
    tree = {**dict.fromkeys(("format", "config", "score"), 0), "model": [{"$tensor": "a"}] * 1000}
    save_file({"a": torch.ones(9)}, path, {"kaggle_unet": json.dumps(tree)})
    write_hash(path)
    with pytest.raises(DataError, match=r"damaged \(KeyError: 'a'\)"):
        load_checkpoint(path)


def test_any_reader_of_safetensors_finds_dotted_names_and_the_config(tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", make())
    with safe_open(tmp_path / "best.safetensors", "np") as file:
        assert {"model.weight", "model.bias", "optimizer.state.0.exp_avg", "rng.torch"} <= set(file.keys())
        assert json.loads(file.metadata()["kaggle_unet"])["config"] == make()["config"]


def test_shared_and_channels_last_tensors_come_back_as_they_were(tmp_path):
    weight = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "best.safetensors", make(model={"one": weight, "two": weight}))
    loaded = load_checkpoint(tmp_path / "best.safetensors")["model"]
    for name in ("one", "two"):
        assert torch.equal(loaded[name], weight)
        assert loaded[name].stride() == weight.stride()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "not written by kaggle-unet"),
        ({}, "not written by kaggle-unet"),
        (make(format=3), "has format 3, this version of kaggle-unet reads format 2"),
    ],
    ids=["another project's", "an empty one", "another version's"],
)
def test_foreign_files_are_refused(tmp_path, content, message):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, content)
    with pytest.raises(DataError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02garbage"])
def test_files_that_are_no_checkpoints_at_all_are_refused(tmp_path, content):
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    write_hash(path)
    with pytest.raises(DataError, match=r"best\.safetensors is damaged"):
        load_checkpoint(path)


def test_a_file_of_another_kind_is_not_to_be_given_a_hash(tmp_path):
    (tmp_path / "config.yaml").write_text("competition: {name: tgs}")
    with pytest.raises(DataError, match=r"config\.yaml: expected a \.safetensors file"):
        load_checkpoint(tmp_path / "config.yaml")


def test_a_missing_checkpoint_or_hash_says_what_to_do(tmp_path):
    path = tmp_path / "best.safetensors"
    with pytest.raises(DataError, match="no such file; train the fold first"):
        load_checkpoint(path)
    save_checkpoint(path, make())
    (tmp_path / "best.safetensors.sha256").unlink()
    with pytest.raises(DataError, match=r"sha256sum best\.safetensors > best\.safetensors\.sha256"):
        load_checkpoint(path)


def test_a_checkpoint_that_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(KitError, match=r"best\.safetensors: can't be written .*float32 is not JSON"):
        save_checkpoint(tmp_path / "best.safetensors", make(score=np.float32(0.5)))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_are_read_from_either_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    tensors = {"conv.weight": torch.arange(6.0).view(2, 3)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    assert torch.equal(read_tensors(path)["conv.weight"], tensors["conv.weight"])


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_tensors_are_found_inside_a_training_checkpoint(tmp_path, wrapper):
    torch.save({wrapper: {"weight": torch.ones(1)}, "epoch": 3}, tmp_path / "w.pt")
    assert list(read_tensors(tmp_path / "w.pt")) == ["weight"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_no_weights_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(DataError, match=f"weights{suffix}: no such file"):
        read_tensors(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=rf"weights{suffix}(: can't be read| is damaged)"):
        read_tensors(path)


def test_weights_with_code_or_without_names_are_refused(tmp_path):
    torch.save({"weight": Touch(tmp_path / "sentinel")}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="something other than tensors"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "sentinel").exists()
    torch.save([torch.ones(1)], tmp_path / "w.pth")
    with pytest.raises(DataError, match="expected tensors by name"):
        read_tensors(tmp_path / "w.pth")


def test_an_ensemble_must_agree_on_inputs_only():
    first = {"codec": {"name": "mask"}, "input": {"channels": ["gray"]}}
    same = {"codec": {"name": "mask_border"}, "input": {"channels": ["gray"]}, "seed": 7}
    check_compatible({Path("a.pt"): first, Path("b.pt"): same}, "no")
    check_compatible({Path("a.pt"): first}, "no")
    other = {"codec": {"name": "mask"}, "input": {"channels": ["red", "green", "blue"]}}
    with pytest.raises(ConfigError) as caught:
        check_compatible({Path("a.pt"): first, Path("b.pt"): same, Path("c.pt"): other}, "no")
    lines = str(caught.value).splitlines()
    assert lines[1:] == ["  - input.channels: ['gray'] in a.pt, ['red', 'green', 'blue'] in c.pt"]
