import copy

import lightning_fabric
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import ConfigError
from kaggle_unet.models.create import create_model
from kaggle_unet.models.settings import PlainUNetSettings, SmpSettings
from kaggle_unet.training.device import DeviceConfig
from kaggle_unet.training.distributed import Distributed, init_distributed, rank_shard
from kaggle_unet.training.settings import TrainingSettings
from kaggle_unet.training.step import Learner
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
    monkeypatch.setattr("kaggle_unet.training.distributed.Distributed", lambda _, **how: how)
    assert init_distributed(TrainingSettings()) == {"devices": devices, "nodes": nodes}


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="--devices 2: this machine has 1"):
        init_distributed(TrainingSettings(), devices=2)


@pytest.fixture
def ddp_of_one(monkeypatch):
    """Training as with several processes, by the only one there is."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)  # what Fabric sets is gone afterwards
    monkeypatch.setattr(lightning_fabric, "Fabric", lambda **options: Fabric(**{**options, "devices": 1}))
    distributed = Distributed(DeviceConfig("cpu", "32", False, False, False, 1, "test"), devices=2)
    distributed.size = 2
    yield distributed
    torch.distributed.destroy_process_group()


def learn_from_zero(logits, planes, weights):
    return logits.square().mean(), {}


@pytest.mark.parametrize(
    "model_settings",
    [
        SmpSettings(encoder="resnet18", options={"encoder_depth": 3, "decoder_channels": [8, 8, 8]}),
        SmpSettings(encoder="resnet18", options={"decoder_channels": [16] * 5, "decoder_attention_type": "scse"}),
        SmpSettings(architecture="pspnet", encoder="tu-mobilenetv3_small_050"),
        SmpSettings(encoder="efficientnet-b0", options={"decoder_channels": [8] * 5}),
        PlainUNetSettings(filters=2, depth=2),
    ],
    ids=["depth", "attention", "pspnet", "efficientnet", "plain_unet"],
)
def test_several_processes_take_networks_with_parameters_that_nothing_uses(ddp_of_one, model_settings, capfd):
    is_encoded = isinstance(model_settings, SmpSettings)
    settings = TrainingSettings(accumulate=2, freeze_encoder_epochs=int(is_encoded))
    network = create_model(model_settings, in_channels=1, out_channels=1)
    learner = Learner(network, learn_from_zero, settings, ddp_of_one)
    batch = Batch(torch.randn(4, 1, 32, 32), torch.zeros(4, 1, 32, 32), torch.ones(4, 32, 32), list("abcd"))
    before = copy.deepcopy(network.state_dict())
    for epoch in (1, 2):
        learner.begin_epoch(epoch)
        assert all(learner.learn(batch).can_continue for _ in range(2))
    idle = {name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])}
    assert bool(idle) == is_encoded
    assert "unused" not in capfd.readouterr().err  # torch complains of a search that finds nothing
