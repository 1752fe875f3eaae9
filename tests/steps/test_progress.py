"""Progress: counts, rates, times, and that nothing is silent for long."""

import json
import signal
import time
import warnings
from types import SimpleNamespace

import pytest

from kaggle_unet.steps import console as module
from kaggle_unet.steps import progress, train
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.progress import Stage, TrainingStage
from kaggle_unet.training.device import select_device
from kaggle_unet.training.fold import EpochDone, PartDone, StepDone
from kaggle_unet.training.settings import TrainingSettings
from tests.steps.conftest import call

DEVICE = select_device("32", False)
ROW = {"train_loss": 0.25, "valid_score": 0.5, "images_per_s": 40.0}


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
    assert str(stage) == "60 of 100, 2/s, 60%, 0:10 elapsed, 0:20 left"


@pytest.mark.parametrize("resumed_after", [0, 3])
def test_the_time_left_of_a_training_counts_validations_too(now, resumed_after):
    settings = TrainingSettings(epochs=10)
    stage = TrainingStage(0, settings)
    now.s = 100  # reading samples is no part of an epoch
    stage.take(DEVICE)
    step_s, n_steps, validation_s = 2, 10, 15
    for epoch in range(resumed_after + 1, 11):
        for step in range(1, n_steps + 1):
            now.s += step_s
            stage.take(StepDone(epoch, step, n_steps, 0.5, 16))
            if epoch > resumed_after + 1:  # from then on it is known how long a validation takes
                epoch_s = step_s * n_steps + validation_s
                assert stage.remaining_s == pytest.approx((10 - epoch + 1) * epoch_s - step * step_s)
        assert f"epoch {epoch}/10, step 10/10, 8 images/s" in str(stage)
        now.s += validation_s
        stage.take(PartDone(7, 7))
        line = stage.take(EpochDone({**ROW, "epoch": epoch}, is_best=True))
        assert line.startswith(f"epoch {epoch}  loss 0.2500  validation 0.5000 best  40 images/s  ")
        assert stage.remaining_s == pytest.approx((10 - epoch) * (step_s * n_steps + validation_s))


def test_the_time_left_ends_with_the_limit_of_minutes(now):
    stage = TrainingStage(0, TrainingSettings(epochs=100, minutes=1))
    now.s = 20
    stage.take(StepDone(1, 1, 1, 0.5, 1))
    assert stage.remaining_s == pytest.approx(40)


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


@pytest.mark.filterwarnings("default")
def test_a_warning_of_the_kit_is_a_line_of_the_console_and_another_one_is_as_python_shows_it(monkeypatch, capsys):
    others = []
    monkeypatch.setattr(warnings, "showwarning", show := lambda message, *_: others.append(str(message)))
    with Console().answering(debug=False, quiet=True, as_json=False):
        warnings.warn_explicit("there is no [swa]", UserWarning, module.__file__, 7)
        warnings.warn_explicit("invalid value", RuntimeWarning, module.__file__, 8)
        warnings.warn_explicit("no such font", UserWarning, json.__file__, 9)
    assert capsys.readouterr().err == "warning there is no [swa]\n"
    assert others == ["invalid value", "no such font"]
    assert warnings.showwarning is show


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


def list_files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_writes_nothing_and_knows_what_the_disk_will_hold(trained_home, tmp_path, monkeypatch):
    home = trained_home("dsb2018")
    run, config, store = home / "run", home / "configs" / "dsb2018" / "tiny.yaml", ("--store", home / "store")
    monkeypatch.chdir(tmp_path)
    before = list_files(home)

    def estimate(*words):
        answer = call(*words, "--dry-run", "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)["estimates"]

    (training,) = estimate("train", config, "--fold", "all", *store)
    assert "folds: 2" in training["work"]
    planes, saved = (
        sum(path.stat().st_size for path in run.glob(f"fold*/{kind}")) for kind in ("planes/*.npz", "*.safe*")
    )
    assert 0.7 * (planes + saved) < training["disk_bytes"] < 2 * (planes + saved)
    found = estimate("predict", run, "--oof", *store)
    assert 0.7 * planes < sum(one["disk_bytes"] for one in found) < 1.4 * planes
    (submission,) = estimate("submit", run, "--data", home / "test.zip", "-o", tmp_path / "x.csv")
    assert "4 images (views: 8, networks: 2)" in submission["work"]
    for one in (training, *found, submission):
        assert 0 < one["minutes"] < 1
    assert list_files(home) == before
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_dry_run_refuses_what_the_run_would(trained_home, tmp_path):
    home = trained_home("dsb2018")
    words = ("train", home / "configs" / "dsb2018" / "tiny.yaml", "--store", home / "store", "--run", home / "run")
    answer = call(*words, "--fold", 0, "--set", "training.epochs=9", "--dry-run")
    assert "was made with another config (training.epochs differ); give another --run (in a plan, another name)" in (
        " ".join(answer.err.split())
    )
    assert (
        "expected the path of a file that ends in .csv"
        in call("submit", home / "run", "--data", home / "test.zip", "-o", tmp_path / "x.txt", "--dry-run").err
    )
    (tmp_path / "x.json").write_text('{"images": []}')  # annotations, perhaps
    answer = call("submit", home / "run", "--data", home / "test.zip", "-o", tmp_path / "x.csv")
    assert (answer.code, "x.json, which kaggle-unet did not write" in answer.err.replace("\n", " ")) == (2, True)
    assert (tmp_path / "x.json").read_text() == '{"images": []}'


def test_a_command_that_was_only_to_be_estimated_says_so_when_it_is_stopped(monkeypatch, tmp_path):
    def stop(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train, "estimate_training", stop)
    (tmp_path / "mine.yaml").write_text("competition: {name: folder}")
    answer = call("-q", "train", tmp_path / "mine.yaml", "--fold", 0, "--dry-run")
    assert (answer.code, answer.err) == (130, "error stopped by Ctrl-C; nothing was begun\n")


def test_no_color_means_no_colour(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    Console().error("lost")
    assert "\x1b[1;31merror" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    Console().error("lost")
    assert "31m" not in capsys.readouterr().err
