"""A training that is stopped from outside goes on where it was."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.steps.conftest import call

EPOCHS = 6


def checkpoint(run):
    return torch.load(run / "fold0" / "last.pt", weights_only=True)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_training_resumes_to_the_weights_of_an_uninterrupted_one(drawn_config, tmp_path, how, code):
    config, data, _ = drawn_config("dsb2018")
    options = [
        "--set",
        f"training.epochs={EPOCHS}",
        "--set",
        "training.threads=1",
        "--set",
        "augmentation.preset=nuclei",
    ]
    assert call("make-targets", config, "--data", data, "--store", tmp_path / "store").code == 0
    words = ["train", config, "--fold", "0", "--store", tmp_path / "store", *options, "--run"]
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

    threads = torch.get_num_threads()
    try:
        assert call(*words, tmp_path / "stopped", "--resume").code == 0
        assert call(*words, tmp_path / "whole").code == 0
    finally:
        torch.set_num_threads(threads)
    stopped, whole = checkpoint(tmp_path / "stopped"), checkpoint(tmp_path / "whole")
    assert stopped["epoch"] == whole["epoch"] == EPOCHS
    for name, tensor in whole["model"].items():
        assert torch.equal(stopped["model"][name], tensor), name
    with (tmp_path / "stopped" / "fold0" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == [str(n + 1) for n in range(EPOCHS)]


def wait_for(path):
    """Wait until a file is there, for two minutes at most."""
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{path} did not appear")
