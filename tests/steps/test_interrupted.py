"""A training that is stopped from outside goes on where it was."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from kaggle_unet.models.checkpoint import load_checkpoint
from tests.steps.conftest import call

EPOCHS = 3
# An epoch of a second or so, in the middle of which the signal arrives.
OPTIONS = {
    "training.epochs": EPOCHS,
    "training.threads": 1,
    "training.ema": "{decay: 0.9}",
    "augmentation.preset": "nuclei",
    "augmentation.crops_per_image": 30,
}


def checkpoint(run):
    return load_checkpoint(run / "fold0" / "last.safetensors")


SET = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(autouse=True, scope="module")
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def submit(config, test, run, output):
    words = ["submit", config, "--data", test, "--checkpoint", run / "fold0", *SET]
    assert call(*words, "-o", output).code == 0
    return output.read_bytes()


@pytest.fixture(scope="module")
def whole(drawn_config, tmp_path_factory):
    """A command that trains, without its run; test data; the checkpoint of an uninterrupted run, and its submission."""
    (config, data, test), home = drawn_config("dsb2018"), tmp_path_factory.mktemp("whole")
    assert call("make-targets", config, "--data", data, "--store", home / "store").code == 0
    words = ["train", config, "--fold", "0", "--store", home / "store", *SET, "--run"]
    assert call(*words, home / "run").code == 0
    return words, test, checkpoint(home / "run"), submit(config, test, home / "run", home / "x.csv")


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_training_resumes_to_what_an_uninterrupted_one_submits(whole, tmp_path, how, code):
    words, test, expected, submission = whole
    process = subprocess.Popen(
        [sys.executable, "-m", "kaggle_unet", *map(str, words), str(tmp_path / "stopped")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )
    wait_for(tmp_path / "stopped" / "fold0" / "metrics.csv")
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert how != signal.SIGTERM or b"--resume" in err
    assert 1 <= checkpoint(tmp_path / "stopped")["epoch"] < EPOCHS

    assert call(*words, tmp_path / "stopped", "--resume").code == 0
    stopped = checkpoint(tmp_path / "stopped")
    assert stopped["epoch"] == expected["epoch"] == EPOCHS
    for name, tensor in expected["model"].items():
        assert torch.equal(stopped["model"][name], tensor), name
    with (tmp_path / "stopped" / "fold0" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == [str(n + 1) for n in range(EPOCHS)]
    assert submit(words[1], test, tmp_path / "stopped", tmp_path / "stopped.csv") == submission


def wait_for(path):
    """Wait until a file is there, for two minutes at most."""
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{path} did not appear")
