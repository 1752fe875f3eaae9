"""The command line as a whole: how it ends when it is stopped."""

import shlex
import signal

import pytest

from kaggle_unet.steps import demo, make_targets, predict, provenance, segment, submit, train, tune, vote
from tests.steps.conftest import call

AT_ONCE = {
    "doctor": (provenance, "examine", []),
    "demo": (demo, "demo", []),
    "make-targets": (make_targets, "make_targets", ["CONFIG", "--data", "x.zip"]),
    "train": (train, "train_fold", ["CONFIG", "--fold", "0"]),
    "predict": (predict, "predict_out_of_fold", ["CONFIG", "--oof"]),
    "tune": (tune, "tune", ["CONFIG"]),
    "segment": (segment, "segment", ["CONFIG", "x.png", "-o", "out"]),
    "vote": (vote, "vote", ["CONFIG", "--csv", "a.csv", "--data", "x.zip", "-o", "x.csv"]),
    "submit": (submit, "submit", ["CONFIG", "--data", "train", "-o", "x.csv"]),
}
GOES_ON = ("make-targets", "train", "predict", "segment", "tune")


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
@pytest.mark.parametrize("verb", list(AT_ONCE))
def test_a_stopped_command_says_what_is_kept_and_which_command_goes_on(verb, number, name, tmp_path, monkeypatch):
    def stop(*_, **__):
        signal.raise_signal(number)

    module, function, words = AT_ONCE[verb]
    monkeypatch.setattr(module, function, stop)
    config = tmp_path / "mine.yaml"
    config.write_text("competition: {name: folder}")
    words = ["-q", verb, *(str(config) if word == "CONFIG" else word for word in words)]
    answer = call(*words)
    assert answer.code == 128 + number
    wanted = "the same command begins anew"
    if verb in GOES_ON:
        again = shlex.join(["kaggle-unet", *words, *(["--resume"] if verb == "train" else [])])
        wanted = f"what was finished is kept; to go on: {again}"
    elif verb in {"submit", "vote"}:
        wanted += "; kaggle-unet predict keeps the planes of each image and goes on"
    assert answer.err == f"error stopped by {name}; {wanted}\n"
