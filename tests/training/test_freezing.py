import dataclasses

import pytest
import torch
from torch import nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.models.create import create_model
from kaggle_unet.models.settings import SmpSettings
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.schedules import Freezer
from kaggle_unet.training.settings import OptimizerSettings, SwaSettings, TrainingSettings
from kaggle_unet.training.step import Learner
from tests.training.test_fit import CONFIG, assert_same, interrupt_in, make_settings
from tests.training.test_train_epoch import make_batch, make_distributed, run


class _Two(nn.Module):
    """An encoder with batch norm and a head."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Conv2d(2, 1, 1)
        self.encoder[0].bias.requires_grad_(False)

    def forward(self, inputs):
        return self.head(self.encoder(inputs))


def mean_square(logits, planes, weights):
    return ((logits - 1) ** 2).mean(), {}


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def differing(before, module):
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_a_frozen_encoder_stands_still_to_the_last_bit_and_then_moves():
    torch.manual_seed(0)
    network = _Two()
    adam = OptimizerSettings(name="adamw", learning_rate=0.1, weight_decay=0.5)
    learner = Learner(
        network, mean_square, TrainingSettings(optimizer=adam, freeze_encoder_epochs=3), make_distributed()
    )
    before, head = state_of(network.encoder), state_of(network.head)
    batches = [make_batch(2, n=3), make_batch(-1, n=3)]
    run(learner, batches, rate=lambda _: 0.1)  # the third epoch
    # weight decay does not reach it either, nor do the running statistics move
    assert differing(before, network.encoder) == set()
    assert differing(head, network.head) == {"weight", "bias"}
    learner.begin_epoch(4)
    learner.learn(batches[0])
    # what was not meant to learn stays out of it
    assert differing(before, network.encoder) == {
        "0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"
    }  # fmt: skip


class _Three(nn.Module):
    """An encoder and a head for three planes."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, inputs):
        return self.head(self.encoder(inputs))


@pytest.mark.parametrize("epoch", [2, 3, 4], ids=["frozen", "as it is released", "released"])
def test_a_fit_freezes_its_first_epochs_whether_it_is_resumed_or_not(parts, tmp_path, epoch):
    parts = dataclasses.replace(parts, build_model=_Three)
    settings, encoders, eval_model = make_settings(freeze_encoder_epochs=2), [], parts.validate

    def validate_model(predict):
        encoders.append(
            load_checkpoint(whole / "last.safetensors")["model"] if (whole / "last.safetensors").exists() else None
        )
        return eval_model(predict)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    straight = fit_fold(dataclasses.replace(parts, validate=validate_model), settings, folder=whole, config=CONFIG)
    encoders.append(load_checkpoint(whole / "last.safetensors")["model"])
    after = [{name: tensor for name, tensor in model.items() if name.startswith("encoder")} for model in encoders[1:]]
    assert_same(after[0], after[1])
    assert not torch.equal(after[1]["encoder.0.weight"], after[2]["encoder.0.weight"])
    assert not torch.equal(after[1]["encoder.1.running_mean"], after[2]["encoder.1.running_mean"])
    assert not torch.equal(encoders[1]["head.weight"], encoders[2]["head.weight"])
    with pytest.raises(KeyboardInterrupt):
        fit_fold(parts, settings, folder=broken, config=CONFIG, on_event=interrupt_in(epoch))
    fit_fold(parts, settings, folder=broken, config=CONFIG, resume=True)
    assert straight.epochs == 4
    assert_same(
        load_checkpoint(broken / "last.safetensors")["model"], load_checkpoint(whole / "last.safetensors")["model"]
    )


@pytest.mark.parametrize(("frozen", "is_held"), [(2, True), (1, False)])
def test_the_mean_over_epochs_has_the_statistics_of_an_encoder_that_was_never_released(
    parts, tmp_path, frozen, is_held
):
    class Doubled(_Three):
        """An encoder with statistics that no batch has."""

        def __init__(self):
            super().__init__()
            self.encoder[1].running_var.fill_(1e4)
            self.head = nn.Sequential(nn.BatchNorm2d(4), self.head)

    settings = make_settings(epochs=2, freeze_encoder_epochs=frozen, swa=SwaSettings(from_epoch=1))
    fit_fold(dataclasses.replace(parts, build_model=Doubled), settings, folder=tmp_path, config=CONFIG)
    last, mean = (load_checkpoint(tmp_path / f"{name}.safetensors")["model"] for name in ("last", "swa"))
    assert all(torch.equal(last[name], mean[name]) for name in last if "encoder.1.running" in name) == is_held
    assert not torch.equal(last["head.0.running_var"], mean["head.0.running_var"])
    # what follows is measured behind the encoder as it is used: with its own statistics its outputs hardly vary
    assert (mean["head.0.running_var"].max() < 1e-2) == is_held


def test_the_encoder_of_a_network_inside_another_is_found():
    network = nn.Sequential(_Two())
    assert Freezer(network, 1).begin_epoch(1)
    assert not network[0].encoder[0].weight.requires_grad
    assert network[0].head.weight.requires_grad


def test_a_network_of_smp_has_an_encoder():
    network = create_model(SmpSettings(encoder="resnet18"), in_channels=1, out_channels=1)
    Freezer(network.train(), 2).begin_epoch(2)
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    assert not any(module.training for module in network.encoder.modules())
    assert all(parameter.requires_grad for parameter in network.decoder.parameters())


def test_a_network_without_an_encoder_is_refused():
    with pytest.raises(ConfigError, match=r"needs a network with an encoder, .* Conv2d has none: set it to 0"):
        Freezer(nn.Conv2d(1, 1, 1), 1)
    assert not Freezer(nn.Conv2d(1, 1, 1), 0).begin_epoch(1)
