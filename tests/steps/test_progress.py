"""Progress: counts, rates, times, and that nothing is silent for long."""

import json
import time
from types import SimpleNamespace

import pytest

from kaggle_unet.steps import console as module
from kaggle_unet.steps import progress
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.progress import Stage, TrainingStage
from kaggle_unet.training.fold import EpochDone, StepDone
from kaggle_unet.training.settings import TrainingSettings


@pytest.fixture
def now(monkeypatch):
    """A clock that tests set."""
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.s)
    return now


def test_the_time_left_is_that_of_what_this_call_has_done(now):
    stage = Stage("samples", 100, first=40)  # an earlier call has made 40
    now.s = 10
    stage.update(60)
    assert stage.line() == "samples: 60 of 100, 2/s, 60%, 0:10 elapsed, 0:20 left"


@pytest.mark.parametrize("resumed_after", [0, 3])
def test_the_time_left_of_a_training_counts_validations_too(now, resumed_after):
    settings = TrainingSettings(epochs=10)
    stage = TrainingStage(0, settings)
    now.s = 100  # reading samples is no part of an epoch
    stage.begin()
    step_s, n_steps, validation_s = 2, 10, 15
    for epoch in range(resumed_after + 1, 11):
        for step in range(1, n_steps + 1):
            now.s += step_s
            stage.step(StepDone(epoch, step, n_steps, 0.5, 16))
            if epoch > resumed_after + 1:  # from then on it is known how long a validation takes
                epoch_s = step_s * n_steps + validation_s
                assert stage.left_s == pytest.approx((10 - epoch + 1) * epoch_s - step * step_s)
        assert f"step 10 of 10, loss 0.5000, {8:g} images/s" in stage.line()
        now.s += validation_s
        stage.validate(7, 7)
        stage.end_epoch(EpochDone({"epoch": epoch, "valid_score": 0.5}, is_best=True))
        assert stage.left_s == pytest.approx((10 - epoch) * (step_s * n_steps + validation_s))


def test_the_time_left_ends_with_the_limit_of_minutes(now):
    stage = TrainingStage(0, TrainingSettings(epochs=100, minutes=1))
    now.s = 20
    stage.step(StepDone(1, 1, 1, 0.5, 1))
    assert stage.left_s == pytest.approx(40)


def test_nothing_is_silent_for_long(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SILENT_S", 0.02)
    console = Console()
    with console.answering(debug=False, quiet=False, as_json=False):
        time.sleep(0.1)
        with console.progress() as on_progress:
            for done in (1, 2, 3):
                on_progress("samples", done, 12)
            time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "at work, 0:00 elapsed"
    assert lines[-1].startswith("samples: 3 of 12, ")
    assert lines[-1].endswith(", 25%, 0:00 elapsed, 0:00 left")


def test_a_quiet_console_shows_no_progress(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SILENT_S", 0.02)
    console = Console()
    with console.answering(debug=False, quiet=True, as_json=True), console.progress() as on_progress:
        on_progress("samples", 12, 12)
        time.sleep(0.1)
        console.say("for people")
        console.wrote(planes=["a", "b"])
        console.next("kaggle-unet", "train", "x y")
    answer = capsys.readouterr()
    assert answer.err == ""
    assert json.loads(answer.out) == {"planes": ["a", "b"], "next": ["kaggle-unet", "train", "x y"]}
