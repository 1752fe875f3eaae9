"""The command line as a whole: help, options of all verbs, documents, and how it ends when it is stopped."""

import ctypes
import json
import shlex
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import typer

from kaggle_unet.cli.app import VERBS, app
from kaggle_unet.cli.app import _stop as stop
from kaggle_unet.config import load_config
from kaggle_unet.steps import demo, make_targets, predict, provenance, segment, submit, train, tune, vote
from tests.steps.conftest import call

ROOT = Path(__file__).parents[1]
EXAMPLES = [(verb, example) for verb, (_, *examples) in VERBS.items() for example in examples]
COMMANDS = typer.main.get_command(app).commands


def command_of(verb):
    """Return a verb's command, that of a group for `config show`."""
    group, _, name = verb.partition(" ")
    return COMMANDS[group].commands[name] if name else COMMANDS[group]


@pytest.mark.parametrize(("verb", "example"), EXAMPLES)
def test_every_example_of_a_help_is_understood_and_fits_a_line(verb, example):
    words = shlex.split(example)
    context = command_of(verb).make_context(verb, list(words))
    assert len(f"kaggle-unet {verb} {example}") <= 78
    overrides = context.params.get("overrides") or []
    configs = [ROOT / word for word in words if word.startswith("configs/")]
    for config in configs or [ROOT / "configs" / "dsb2018" / "quick.yaml"] * bool(overrides and verb != "init"):
        load_config(config, overrides)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_has_its_examples_and_every_default(verb):
    before, after = call("help", *verb.split()), call(*verb.split(), "--help")
    assert (before.code, before.out) == (0, after.out)
    for example in VERBS[verb][1:]:
        assert f"kaggle-unet {verb} {example}".strip() in after.out
    for option in command_of(verb).params:
        takes_value = option.param_type_name == "option" and not option.is_flag
        if takes_value and option.default in {None, ""} and not option.required and "Repeatable" not in option.help:
            assert "Default: " in option.help, f"{verb} {option.opts}: {option.help}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_what_all_take(verb):
    words = {word for option in command_of(verb).params for word in option.opts}
    assert {"-q", "--debug", "--json"} <= words


def test_options_of_all_verbs_stand_before_or_after_the_verb(tmp_path):
    missing = ("check", tmp_path / "x.csv", "--data", "nowhere", "--competition", "tgs")
    before, after = call("--json", *missing), call(*missing, "--json")
    assert (before.code, before.out, before.err) == (3, after.out, after.err)
    assert json.loads(after.out)["exit_code"] == 3
    with pytest.raises(Exception, match="nowhere"):
        call(*missing, "--debug")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--epochs", "3"), "--set training.epochs=3?"),
        (("--epochs=3",), "--set training.epochs=3?"),
        (("--encoder", "vgg11"), "--set model.encoder=vgg11 (of smp and ternausnet)?"),
        (("--lr", "0.1"), "--set training.optimizer.learning_rate=0.1?"),
        (("--batch-size", "8"), "--set training.batch=8 or --set inference.batch=8?"),
        (("--frob",), "a key of the config is set with --set KEY=VALUE"),
    ],
)
def test_an_unknown_option_names_the_key_that_it_may_stand_for(words, says, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    answer = call("train", "configs/dsb2018/quick.yaml", *words)
    assert answer.code == 2
    assert says in answer.err


def test_a_config_that_is_not_there_names_the_nearest_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "did you mean configs/dsb2018/quick.yaml?" in call("train", "configs/dsb2018/quik.yaml").err


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


def test_an_unknown_letter_among_short_options_is_named():
    answer = call("train", "x.yaml", "-qz")
    assert (answer.code, "No such option: -z" in answer.err) == (2, True)


def test_a_signal_ends_the_workers_at_once():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)}
    worker = get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    with pytest.raises(SystemExit, match="143"):
        stop(signal.SIGTERM, None)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    worker.join(10)
    assert worker.exitcode == -signal.SIGKILL


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_fails_because_of_a_stop_is_not_reported(number, monkeypatch):
    def stop(*_, **__):
        try:
            signal.raise_signal(number)
        finally:
            raise RuntimeError("follows from the stop")

    module, function, _ = AT_ONCE["doctor"]
    monkeypatch.setattr(module, function, stop)
    answer = call("-q", "doctor")
    assert (answer.code, answer.err.count("\n")) == (128 + number, 1)
    assert answer.err.startswith("error stopped by ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_that_is_stopped_while_compiled_code_calls_python(number, tmp_path, monkeypatch):
    def work(*_, **__):
        for fault in (lambda: signal.raise_signal(number), lambda: {}["what a stop has left half done"]):
            ctypes.CFUNCTYPE(None)(fault)()
        time.sleep(20)

    module, function, words = AT_ONCE["doctor"]
    monkeypatch.setattr(module, function, work)
    begin = time.monotonic()
    answer = call("-q", "doctor", *words)
    assert (answer.code, answer.err.count("\n"), time.monotonic() - begin < 10) == (128 + number, 1, True)
