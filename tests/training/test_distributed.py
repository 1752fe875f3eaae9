import pytest
import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.distributed import _count_nodes, _read_torchrun, init_distributed, rank_shard
from kaggle_unet.training.settings import TrainingSettings
from tests.training.test_train_epoch import make_distributed


def test_one_process_is_rank_zero_of_one(monkeypatch):
    distributed = make_distributed()
    assert (distributed.size, distributed.rank, distributed.is_rank_zero) == (1, 0, True)
    assert distributed.gather(lambda: 5) == [5]
    assert distributed.on_rank_zero(lambda: "done") == "done"
    assert distributed.all_reduce_sum(torch.tensor([1.0, 2.0])).tolist() == [1, 2]
    assert rank_shard(["a", "b", "c"], distributed) == ["a", "b", "c"]
    network = nn.BatchNorm2d(1)
    distributed.sync_buffers(network, mean=True)
    assert network.running_var.item() == 1


def test_errors_pass_through():
    def fail():
        msg = "no"
        raise ConfigError(msg)

    with pytest.raises(ConfigError, match="no"):
        make_distributed().on_rank_zero(fail)


def test_threads_come_before_what_is_recorded():
    assert init_distributed(TrainingSettings(threads=1)).device_config.threads == 1


@pytest.mark.parametrize(
    ("environment", "devices", "nodes"),
    [
        ({}, 1, 1),
        # a cluster's variables mean nothing by themselves
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 1, 1),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 4, 2),
    ],
)
def test_torchrun_sets_the_number_of_ranks(monkeypatch, environment, devices, nodes):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (_read_torchrun("LOCAL_WORLD_SIZE"), _count_nodes()) == (devices, nodes)


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="--devices 2: this machine has 1"):
        init_distributed(TrainingSettings(), devices=2)
