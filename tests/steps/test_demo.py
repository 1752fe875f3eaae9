"""The demo, small here and whole under the marker `slow`."""

from dataclasses import replace

import pytest

from kaggle_unet.errors import KitError
from kaggle_unet.steps import demo
from kaggle_unet.steps.console import Console


@pytest.fixture
def short(monkeypatch):
    """Fewer images and one epoch of each of the demo's competitions."""
    parts = [
        replace(
            part,
            n_train=6,
            n_test=3,
            config=part.config.replace("epochs: 36", "epochs: 1")
            .replace("epochs: 24", "epochs: 1")
            .replace("warmup_epochs: 1", "warmup_epochs: 0"),
        )
        for part in demo.PARTS
    ]
    assert all("epochs: 1\n" in part.config for part in parts)
    monkeypatch.setattr(demo, "PARTS", tuple(parts))
    console = Console()
    console.quiet = True
    return console


def test_the_demo_leaves_a_csv_a_picture_and_a_report(short, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "MUST_GAIN", -1)
    scores = demo.demo(tmp_path, short)
    assert set(scores) == {"network", "classical", "salt", "salt_blank"}
    assert all(0 <= score <= 1 for score in scores.values())
    printed = capsys.readouterr().out
    for name in ("nuclei/submission.csv", "nuclei/picture.png", "nuclei/run/report.html"):
        assert (tmp_path / name).is_file()
        assert str(tmp_path / name) in printed


def test_a_second_demo_in_the_same_folder_begins_anew(short, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "MUST_GAIN", -1)
    assert demo.demo(tmp_path, short) == demo.demo(tmp_path, short)


def test_a_demo_whose_network_gains_nothing_fails(short, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "MUST_GAIN", 2)
    with pytest.raises(KitError, match="gained less"):
        demo.demo(tmp_path, short)


@pytest.mark.slow
def test_the_whole_demo_beats_the_classical_method(tmp_path):
    scores = demo.demo(tmp_path, Console())
    assert scores["network"] >= scores["classical"] + demo.MUST_GAIN
    assert scores["salt"] >= scores["salt_blank"] + demo.MUST_GAIN
