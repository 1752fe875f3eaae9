import os

import numpy as np
import torch

from kaggle_unet.training.device import seed_everything


def test_the_same_seed_draws_the_same_and_numpy_is_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002  the state that must not move
    seed_everything(5)
    first = torch.rand(3)
    seed_everything(5)
    assert torch.equal(first, torch.rand(3))
    seed_everything(6)
    assert not torch.equal(first, torch.rand(3))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_deterministic_operations_are_chosen_and_left_again(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seed_everything(0, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    # what torch's notes on reproducibility ask for
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    seed_everything(0)
    assert not torch.are_deterministic_algorithms_enabled()
