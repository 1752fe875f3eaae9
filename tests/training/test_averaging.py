import dataclasses
from functools import partial
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from torch import nn

from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.schedules import Averages
from kaggle_unet.training.settings import EmaSettings, OptimizerSettings, ScheduleSettings, SwaSettings
from tests.training.test_fit import CONFIG, make_settings


def set_weight(network, value):
    nn.init.constant_(network.weight, value)
    return network


@pytest.fixture
def network():
    return set_weight(nn.Conv2d(1, 1, 1, bias=False), 0.0)


def test_the_moving_average_starts_with_the_first_weights_and_warms_up(network):
    averages = Averages(network, EmaSettings(decay=0.25), None)
    assert averages.eval_model(network) is network
    seen = []
    for value in (1.0, 2.0, 2.0):
        averages.update_ema(set_weight(network, value))
        seen.append(averages.eval_model(network).weight.item())
    # decay is 2/11 in the second step, and would be 3/12 in the third, its limit
    assert seen == pytest.approx([1.0, 2 - 2 / 11, 2 - 2 / 11 * 0.25])


def test_running_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm2d(1)
    averages = Averages(network, EmaSettings(decay=0.5), None)
    for mean, count in ((0.0, 3), (11.0, 7)):
        nn.init.constant_(network.running_mean, mean)
        network.num_batches_tracked.fill_(count)
        averages.update_ema(network)
    average = averages.eval_model(network)
    assert average.running_mean.item() == pytest.approx(11 * (1 - 2 / 11))
    assert average.num_batches_tracked.item() == 7


def test_the_mean_is_over_the_epochs_it_is_meant_for(network):
    averages = Averages(network, None, SwaSettings(from_epoch=2))
    for epoch, value in enumerate((100.0, 1.0, 2.0, 6.0), 1):
        assert (averages.mean is None) == (epoch < 3)
        averages.update_swa(set_weight(network, value), epoch)
    assert averages.mean.weight.item() == pytest.approx(3.0)
    assert averages.eval_model(network) is network


def test_averages_go_on_where_they_were(network):
    settings = EmaSettings(decay=0.9), SwaSettings(from_epoch=1)
    straight, broken = Averages(network, *settings), Averages(network, *settings)
    for value in (3.0, 4.0, 7.0):
        for averages in (straight, broken):
            averages.update_ema(set_weight(network, value))
            averages.update_swa(network, 1)
        resumed = Averages(network, *settings)
        resumed.load_state(broken.state())
        broken = resumed
    assert torch.equal(broken.mean.weight, straight.mean.weight)
    assert torch.equal(broken.eval_model(network).weight, straight.eval_model(network).weight)


NOISY = {
    "epochs": 20,
    "batch": 1,
    "optimizer": OptimizerSettings(name="sgd", learning_rate=0.5, momentum=0),
    "schedule": ScheduleSettings(name="constant"),
}


def test_an_averaged_network_is_better_and_steadier_at_a_high_rate(parts, tmp_path):
    raw = fit_fold(parts, make_settings(**NOISY), folder=tmp_path / "raw", config=CONFIG)
    ema = fit_fold(parts, make_settings(**NOISY, ema=EmaSettings(decay=0.9)), folder=tmp_path / "ema", config=CONFIG)
    raw_losses, ema_losses = ([row["valid_loss"] for row in fitted.history[10:]] for fitted in (raw, ema))
    # the average does not change what is learnt, only what is validated
    assert [row["train_loss"] for row in raw.history] == [row["train_loss"] for row in ema.history]
    assert fmean(ema_losses) < fmean(raw_losses)
    assert pstdev(ema_losses) < pstdev(raw_losses) / 2


def test_the_mean_over_epochs_is_better_than_a_usual_epoch_of_them(parts, tmp_path):
    seen = []

    def validate_model(predict):
        seen.append(parts.validate(predict))
        return seen[-1]

    settings = make_settings(**NOISY, swa=SwaSettings(from_epoch=8))
    fitted = fit_fold(dataclasses.replace(parts, validate=validate_model), settings, folder=tmp_path, config=CONFIG)
    assert len(seen) == NOISY["epochs"] + 1
    assert seen[-1].loss < fmean(result.loss for result in seen[7:-1])
    mean = load_checkpoint(tmp_path / "swa.safetensors")
    assert fitted.others == {"swa.safetensors": seen[-1].score} == {"swa.safetensors": mean["score"]}


def test_the_best_checkpoint_has_the_weights_that_were_validated(parts, tmp_path):
    eval_model = []

    def validate_model(predict):
        eval_model.append(predict(torch.ones(1, 1, 8, 8)))
        return parts.validate(predict)

    settings = make_settings(epochs=1, ema=EmaSettings(decay=0.5))
    fit_fold(dataclasses.replace(parts, validate=validate_model), settings, folder=tmp_path, config=CONFIG)
    network = parts.build_model().eval()
    answers = []
    for name in ("best.safetensors", "last.safetensors"):
        network.load_state_dict(load_checkpoint(tmp_path / name)["model"])
        answers.append(network(torch.ones(1, 1, 8, 8)))
    torch.testing.assert_close(eval_model[0], answers[0])  # to a few bits: layouts may differ
    assert (eval_model[0] - answers[1]).abs().max() > 1e-3


def test_batch_norm_of_the_mean_is_measured_on_the_training_set(parts, tmp_path):
    settings = make_settings(epochs=2, swa=SwaSettings(from_epoch=1))
    fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    mean = load_checkpoint(tmp_path / "swa.safetensors")["model"]
    # the first convolution's outputs over an epoch that none was trained on: 5 crops in batches of 2, 2 and 1
    inputs = np.stack([parts.training_set[3, index].inputs for index in range(5)])
    conv = nn.functional.conv2d(torch.from_numpy(inputs), mean["0.weight"], mean["0.bias"], padding=1)
    assert mean["1.num_batches_tracked"].item() == 3
    assert mean["1.running_mean"].numpy() == pytest.approx(conv.mean((0, 2, 3)).numpy(), abs=0.1)
    assert not torch.equal(
        mean["1.running_mean"], load_checkpoint(tmp_path / "last.safetensors")["model"]["1.running_mean"]
    )


def test_the_mean_has_a_rate_of_its_own(parts, tmp_path):
    settings = make_settings(epochs=3, swa=SwaSettings(from_epoch=2, rate=0.5))
    fitted = fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert [row["lr"] for row in fitted.history] == pytest.approx([0.0075 + 0.0001 * 0.25, 5e-3, 5e-3], rel=0.01)


def test_a_training_that_goes_on_after_its_time_was_up_has_the_mean_of_all_its_epochs(parts, tmp_path):
    settings = make_settings(epochs=3, swa=SwaSettings(from_epoch=1))
    short = fit_fold(parts, settings.model_copy(update={"minutes": 1e-9}), folder=tmp_path / "a", config=CONFIG)
    assert (short.epochs, load_checkpoint(tmp_path / "a" / "swa.safetensors")["epoch"]) == (1, 1)
    resumed = fit_fold(parts, settings, folder=tmp_path / "a", config=CONFIG, resume=True)
    straight = fit_fold(parts, settings, folder=tmp_path / "b", config=CONFIG)
    assert resumed.others == straight.others
    one, other = (load_checkpoint(tmp_path / name / "swa.safetensors") for name in "ab")
    assert one["epoch"] == other["epoch"] == 3
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in other["model"])


def test_a_training_that_stops_before_its_mean_begins_has_none(parts, tmp_path):
    stop = partial(make_settings, epochs=9, early_stopping=1, swa=SwaSettings(from_epoch=9))
    result = parts.validate
    parts = dataclasses.replace(parts, validate=lambda predict: dataclasses.replace(result(predict), score=0.5))
    with pytest.warns(match=r"no swa.safetensors: the training ended with epoch 2, before .*from_epoch; lower it"):
        assert fit_fold(parts, stop(), folder=tmp_path, config=CONFIG).others == {}
    assert not (tmp_path / "swa.safetensors").exists()
