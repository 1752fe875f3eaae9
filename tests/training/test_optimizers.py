from typing import get_args

import pytest
import torch
from torch import nn

from kaggle_unet.training.schedules import create_optimizer
from kaggle_unet.training.settings import OptimizerSettings

NAMES = get_args(OptimizerSettings.model_fields["name"].annotation)


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_takes_its_numbers_and_moves_downhill(name):
    weight = nn.Parameter(torch.tensor([3.0]))
    settings = OptimizerSettings(name=name, learning_rate=0.05, weight_decay=0.01, momentum=0.8)
    optimizer = create_optimizer(settings, [weight])
    group = optimizer.param_groups[0]
    assert type(optimizer).__name__.lower() == name
    assert (group["lr"], group["weight_decay"]) == (0.05, 0.01)
    assert group.get("momentum", 0.8) == 0.8
    assert group.get("nesterov", name == "sgd") == (name == "sgd")
    for _ in range(40):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 3


def test_sgd_without_momentum_is_no_error():
    create_optimizer(OptimizerSettings(name="sgd", momentum=0), [nn.Parameter(torch.zeros(1))])
