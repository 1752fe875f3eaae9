"""The demo, small here and whole under the marker `slow`."""

import contextlib
import io
from dataclasses import replace

import pytest

from kaggle_unet.errors import KitError
from kaggle_unet.steps import demo
from kaggle_unet.steps.console import Console


def shorten(monkeypatch, must_gain):
    """Take fewer images and one epoch of each of the demo's competitions."""
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
    monkeypatch.setattr(demo, "MUST_GAIN", must_gain)
    console = Console()
    console.quiet = True
    return console


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A demo's folder, its scores and what it printed."""
    folder, out = tmp_path_factory.mktemp("demo"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        return folder, demo.demo(folder, shorten(patch, -1)), out.getvalue()


def test_the_demo_leaves_a_csv_a_picture_and_a_report(shown):
    folder, scores, printed = shown
    assert set(scores) == {"network", "classical", "salt", "salt_blank"}
    assert all(0 <= score <= 1 for score in scores.values())
    for name in ("nuclei/submission.csv", "nuclei/picture.png", "nuclei/run/report.html"):
        assert (folder / name).is_file()
        assert str(folder / name) in printed


def test_a_second_demo_in_the_same_folder_begins_anew(shown, monkeypatch):
    folder, scores, _ = shown
    assert demo.demo(folder, shorten(monkeypatch, -1)) == scores


def test_a_demo_whose_network_gains_nothing_fails(monkeypatch, tmp_path):
    with pytest.raises(KitError, match="gained less"):
        demo.demo(tmp_path, shorten(monkeypatch, 2))


@pytest.mark.slow
def test_the_whole_demo_beats_the_classical_method(tmp_path):
    scores = demo.demo(tmp_path, Console())
    assert scores["network"] >= scores["classical"] + demo.MUST_GAIN
    assert scores["salt"] >= scores["salt_blank"] + demo.MUST_GAIN
