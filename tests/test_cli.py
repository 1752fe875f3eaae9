"""The command line as a whole: how it ends when it is stopped."""

import pytest

from kaggle_unet.steps import demo, make_targets, predict, provenance, submit, train, tune
from tests.steps.conftest import call

AT_ONCE = {
    "doctor": (provenance, "examine", []),
    "demo": (demo, "demo", []),
    "make-targets": (make_targets, "make_targets", ["CONFIG", "--data", "x.zip"]),
    "train": (train, "train_fold", ["CONFIG", "--fold", "0"]),
    "predict": (predict, "predict_out_of_fold", ["CONFIG", "--oof"]),
    "tune": (tune, "tune", ["CONFIG"]),
    "submit": (submit, "submit", ["CONFIG", "--data", "train", "-o", "x.csv"]),
}
KEPT = "what was finished is kept, and the same command continues"
AFTER = {
    "train": "what was finished is kept, and the same command with --resume continues",
    **dict.fromkeys(("make-targets", "predict", "tune"), KEPT),
}


@pytest.mark.parametrize(
    ("end", "code", "name"), [(KeyboardInterrupt(), 130, "Ctrl-C"), (SystemExit(143), 143, "SIGTERM")]
)
@pytest.mark.parametrize("verb", list(AT_ONCE))
def test_a_stopped_command_says_whether_it_can_be_continued(verb, end, code, name, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise end

    module, function, words = AT_ONCE[verb]
    monkeypatch.setattr(module, function, stop)
    config = tmp_path / "mine.yaml"
    config.write_text("competition: {name: folder}")
    answer = call("-q", verb, *(config if word == "CONFIG" else word for word in words))
    assert answer.code == code
    assert f"stopped by {name}; {AFTER.get(verb, 'the same command begins anew')}" in " ".join(answer.err.split())
