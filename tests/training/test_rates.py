"""What schedules do to a training: the rate of every step, and what becomes of the network."""

import dataclasses
from statistics import fmean

import pytest

from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import StepDone
from kaggle_unet.training.settings import OptimizerSettings, ScheduleSettings
from kaggle_unet.training.step import Learner
from tests.training.test_fit import CONFIG, answers, make_settings


@pytest.fixture
def rates(monkeypatch):
    """Every rate that an optimiser is given, in order."""
    given, set_rate = [], Learner.set_rate

    def record(learner, rate):
        set_rate(learner, rate)
        given.append(learner.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Learner, "set_rate", record)
    return given


# Two epochs of three steps; the cosine of 30° is 0.866.
@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ({"name": "constant"}, [1, 1, 1, 1, 1, 1]),
        ({"name": "constant", "warmup_epochs": 1}, [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ({"name": "cosine", "floor": 0}, [0.933, 0.75, 0.5, 0.25, 0.067, 0]),
        ({"name": "cosine", "floor": 0, "warmup_epochs": 1}, [1 / 3, 2 / 3, 1, 0.75, 0.25, 0]),
        ({"name": "exponential", "factor": 0.5}, [1, 1, 1, 0.5, 0.5, 0.5]),
        ({"name": "one_cycle", "rise": 0.5, "start": 0.1, "floor": 0}, [0.325, 0.775, 1, 0.75, 0.25, 0]),
        ({"name": "snapshots", "cycles": 2, "floor": 0}, [0.75, 0.25, 0, 0.75, 0.25, 0]),
        ({"name": "plateau", "patience": 0, "factor": 0.5}, [1, 1, 1, 1, 1, 1]),
    ],
    ids=str,
)
def test_every_step_has_the_rate_of_its_schedule(parts, tmp_path, rates, schedule, shares):
    optimizer = OptimizerSettings(name="sgd", learning_rate=0.1)
    settings = make_settings(epochs=2, optimizer=optimizer, schedule=ScheduleSettings(**schedule))
    fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert rates == pytest.approx([0.1 * share for share in shares], abs=1e-4)


@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_a_plateau_lowers_the_rate_of_the_steps_after_it(parts, tmp_path, rates, monitor):
    # the score stands still from the second epoch on, the loss does not
    parts = dataclasses.replace(parts, validate=answers((0.5, 1.0), (0.5, 0.9), (0.5, 0.8)))
    schedule = ScheduleSettings(name="plateau", patience=0, factor=0.5)
    settings = make_settings(epochs=3, schedule=schedule, monitor=monitor)
    fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    last = 0.5e-2 if monitor == "score" else 1e-2
    assert rates == pytest.approx([1e-2] * 6 + [last] * 3)


STEEP = OptimizerSettings(name="sgd", learning_rate=0.5, momentum=0)


def fit_steeply(parts, folder, **schedule):
    settings = make_settings(epochs=20, batch=1, optimizer=STEEP, schedule=ScheduleSettings(**schedule), monitor="loss")
    return [row["valid_loss"] for row in fit_fold(parts, settings, folder=folder, config=CONFIG).history]


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "cosine"},
        {"name": "one_cycle"},
        {"name": "exponential", "factor": 0.8},
        {"name": "plateau", "patience": 1, "factor": 0.3},
        {"name": "snapshots", "cycles": 2},
    ],
    ids=lambda schedule: schedule["name"],
)
def test_a_rate_that_falls_ends_better_than_one_that_stays_too_high(parts, tmp_path, schedule):
    high = fit_steeply(parts, tmp_path / "high", name="constant")
    assert fit_steeply(parts, tmp_path / "falling", **schedule)[-1] < fmean(high[10:]) - 0.01


def test_a_warm_up_spares_a_network_the_first_steps_at_a_high_rate(parts, tmp_path):
    worst = []
    for epochs in (0, 2):
        seen = []
        settings = make_settings(
            epochs=1,
            batch=1,
            optimizer=OptimizerSettings(name="sgd", learning_rate=2, momentum=0),
            schedule=ScheduleSettings(name="constant", warmup_epochs=epochs),
        )
        fit_fold(parts, settings, folder=tmp_path / str(epochs), config=CONFIG, on_event=seen.append)
        worst.append(max(event.loss for event in seen if isinstance(event, StepDone)))
    assert worst[1] < worst[0] / 2
