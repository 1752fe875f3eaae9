import sys

import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.history import tracking, write_metrics

HISTORY = [
    {"epoch": 1, "lr": 1e-3, "train_loss": 0.5, "valid_score": None},
    {"epoch": 2, "lr": 5e-4, "train_loss": 1 / 3, "valid_score": 0.25},
]


def test_a_line_per_epoch_and_nothing_for_what_was_not_measured(tmp_path):
    write_metrics(tmp_path / "metrics.csv", HISTORY)
    expected = b"epoch,lr,train_loss,valid_score\n1,0.001,0.5,\n2,0.0005,0.333333,0.25\n"
    assert (tmp_path / "metrics.csv").read_bytes() == expected


def test_tracking_writes_a_tensorboard_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracking(tmp_path, wanted=True) as track:
        for row in HISTORY:
            track(row)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert set(log.Tags()["scalars"]) == {"lr", "train_loss", "valid_score"}
    assert [(event.step, event.value) for event in log.Scalars("valid_score")] == [(2, 0.25)]


def test_without_tracking_nothing_is_written(tmp_path):
    with tracking(tmp_path, wanted=False) as track:
        track(HISTORY[0])
    assert not list(tmp_path.iterdir())


def test_tracking_without_tensorboard_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r"\.venv/bin/pip install -e '\.\[track\]'"), tracking(tmp_path, wanted=True):
        pass
