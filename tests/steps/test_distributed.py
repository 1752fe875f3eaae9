"""Two processes on a CPU train as one with twice the batch does."""

import csv
import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from kaggle_unet.models.checkpoint import load_checkpoint
from tests.steps.conftest import call

pytestmark = pytest.mark.slow

# What makes a batch's loss the mean over its samples: no batch norm, Dice image by image.
OPTIONS = {
    "model.norm": "group",
    "loss.dice_over": "image",
    "augmentation.crops_per_image": 3,
    "training.epochs": 2,
    "training.threads": 1,
    "training.precision": 32,
    "training.optimizer": "{name: sgd, learning_rate: 0.1}",
    "training.ema": "{decay: 0.9}",
    "training.swa": "{from_epoch: 1}",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launched(how):
    """Say how two processes are started."""
    if how == "devices":
        return ["-m", "kaggle_unet"], ["--devices", "2"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    # without the dashes torchrun takes --run for the beginning of an option of its own
    return [*torchrun, "-m", "--", "kaggle_unet"], []


def run_two(how, *words):
    before, after = launched(how)
    command = [sys.executable, *map(str, [*before, *words, *after])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.fixture(scope="module")
def prepared(drawn_config, tmp_path_factory):
    config, data, _ = drawn_config("dsb2018")
    home = tmp_path_factory.mktemp("two")
    assert call("make-targets", config, "--data", data, "--store", home / "store").code == 0
    options = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]
    words = ["train", config, "--fold", 0, "--store", home / "store", *options]
    threads = torch.get_num_threads()
    answer = call(*words, "--run", home / "one", "--set", "training.batch=6")
    torch.set_num_threads(threads)
    assert answer.code == 0, answer.err
    return home, words


def rows_of(run):
    with (run / "fold0" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("how", ["devices", "torchrun"])
def test_two_processes_end_where_one_with_twice_the_batch_ends(prepared, tmp_path, how):
    home, words = prepared
    done = run_two(how, *words, "--run", tmp_path / "two", "--set", "training.batch=3")
    assert done.returncode == 0, done.stderr
    # one of them speaks, and one of them writes
    assert done.stdout.count("best epoch") == 1
    assert json.loads((tmp_path / "two" / "run.json").read_text())["device"]["processes"] == 2
    one, two = ({path.name for path in (run / "fold0").iterdir()} for run in (home / "one", tmp_path / "two"))
    assert one == two
    for mine, theirs in zip(rows_of(home / "one"), rows_of(tmp_path / "two"), strict=True):
        for name in ("train_loss", "train_cross_entropy", "train_dice", "valid_loss"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), abs=1e-4), name
        assert float(mine["valid_score"]) == pytest.approx(float(theirs["valid_score"]), abs=0.02)
    for name in ("last.safetensors", "swa.safetensors"):
        mine, theirs = (load_checkpoint(run / "fold0" / name)["model"] for run in (home / "one", tmp_path / "two"))
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[key], atol=1e-4, rtol=1e-3)


def test_a_fault_is_everybodys(prepared, tmp_path):
    _, words = prepared
    optimizer = "training.optimizer={name: sgd, learning_rate: 1e9}"
    done = run_two("devices", *words, "--run", tmp_path / "two", "--set", "training.batch=3", "--set", optimizer)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("epoch 1, step 2: the ") == 1
    found = sorted(path.name for path in (tmp_path / "two" / "fold0").glob("failed*"))
    assert found == ["failed_batch.npz", "failed_batch.png", "failed_batch_1.npz"]


def test_what_fails_in_one_fails_in_all_and_is_said_once(prepared):
    home, words = prepared
    done = run_two("devices", *words, "--run", home / "one", "--set", "training.batch=3")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("was made with another config (training.batch differ)") == 1
