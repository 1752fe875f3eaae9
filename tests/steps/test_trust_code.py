"""A run whose network is code of one's own, from training to submission."""

import sys

import numpy as np
import pytest

import kaggle_unet as ku
from kaggle_unet.synthetic.files import write_dsb_zip
from tests.steps.conftest import call

MODULE = """
import pathlib
import torch

pathlib.Path(__file__).with_name("imported.txt").write_text("this module ran")

def build(in_channels, out_channels):
    return torch.nn.Conv2d(in_channels, out_channels, 3, padding=1)
"""
CONFIG = """
competition: {name: dsb2018}
folds: {n: 2, stratify: none}
model: {name: "python:NAME:build", input_multiple: 8}
augmentation: {preset: light, crop_px: 32}
training: {epochs: 1, batch: 4}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder: a module, a config that names it, and a store."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text(CONFIG.replace("NAME", name))
    write_dsb_zip(tmp_path / "train.zip", 1, 4)
    write_dsb_zip(tmp_path / "test.zip", 2, 2, with_masks=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop(name, None)


def test_a_network_of_one_s_own_trains_submits_and_loads_only_when_its_code_is_trusted(home):
    imported = home / "imported.txt"
    assert call("make-targets", "own.yaml", "--data", "train.zip", "--store", "store").code == 0
    train = ("train", "own.yaml", "--fold", "0", "--store", "store", "--run", "run")
    refused = call(*train)
    assert refused.code == 2
    assert "which was not imported" in refused.err
    assert not imported.exists()
    assert call(*train, "--trust-code").code == 0
    imported.unlink()
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]

    submit = ("submit", "run", "--data", "test.zip", "-o", "x.csv")
    assert call(*submit).code == 2
    with pytest.raises(ku.ConfigError, match="trust_code=True"):
        ku.load("run")
    assert not imported.exists()
    assert not any(name.startswith("own_") for name in sys.modules)

    assert call(*submit, "--trust-code").code == 0
    assert imported.exists()
    assert ku.load("run", trust_code=True).segment(np.zeros((40, 40), np.uint8)).shape == (40, 40)
