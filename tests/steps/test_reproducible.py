"""Two runs of one config are the same to the byte, and a run says all that is needed to repeat it."""

import json
import subprocess
from importlib.metadata import version

import pytest
import torch

from kaggle_unet.config import parse_config, plain
from kaggle_unet.models.checkpoint import load_checkpoint
from tests.steps.conftest import call

OPTIONS = {
    "augmentation.preset": "first_place",
    "augmentation.crops_per_image": 4,
    "augmentation.crop_finds_objects": 0.5,
    "augmentation.sampling": "kind",
    "training.ema": "{decay: 0.9}",
    "training.threads": 1,
    "training.epochs": 2,
}


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prepared(drawn_config, tmp_path_factory):
    """A config, its test data, its store."""
    config, data, test = drawn_config("dsb2018")
    store = tmp_path_factory.mktemp("store") / "store"
    assert call("make-targets", config, "--data", data, "--store", store).code == 0
    return config, test, store


def train(prepared, run, *more):
    """Train a fold and submit it."""
    config, test, store = prepared
    options = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]
    answer = call("train", config, "--fold", 0, "--store", store, "--run", run, *options, *more)
    assert answer.code == 0, answer.err
    answer = call("submit", config, "--data", test, "--checkpoint", run / "fold0", "-o", run / "x.csv", *options)
    assert answer.code == 0, answer.err
    return load_checkpoint(run / "fold0" / "last.safetensors"), (run / "x.csv").read_bytes()


def test_two_runs_with_everything_switched_on_are_the_same_to_the_byte(prepared, tmp_path):
    workers = ("--set", "training.workers=2")
    (one, first), (other, second) = (train(prepared, tmp_path / name, *workers) for name in "ab")
    alone, third = train(prepared, tmp_path / "c")
    for again in (other, alone):
        for name, tensor in one["model"].items():
            assert torch.equal(tensor, again["model"][name]), name
        for name, tensor in one["averages"]["ema"].items():
            assert torch.equal(tensor, again["averages"]["ema"][name]), name
    assert first == second == third
    tables = [(tmp_path / name / "fold0" / "metrics.csv").read_text().splitlines() for name in "abc"]
    # all but how long it took
    assert len({tuple(line.rsplit(",", 2)[0] for line in table) for table in tables}) == 1
    another, _ = train(prepared, tmp_path / "d", "--set", "training.seed=1")
    assert not torch.equal(another["model"]["head.weight"], one["model"]["head.weight"])


def test_deterministic_operations_change_nothing_on_a_cpu(prepared, tmp_path):
    _, plain = train(prepared, tmp_path / "plain")
    _, strict = train(prepared, tmp_path / "strict", "--set", "training.deterministic=true")
    torch.use_deterministic_algorithms(False)
    assert plain == strict
    assert json.loads((tmp_path / "strict" / "run.json").read_text())["device"]["deterministic"] is True


def test_a_run_says_all_that_is_needed_to_repeat_it(prepared, tmp_path, repository):
    train(prepared, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    manifest = json.loads((prepared[2] / "manifest.json").read_text())
    assert about["config"]["training"]["ema"] == {"decay": 0.9}
    assert about["config"]["folds"]["n"] == 2
    assert plain(parse_config((tmp_path / "run" / "config.yaml").read_text())) == about["config"]
    assert about["data"] == manifest["identity"]["data"]
    assert len(bytes.fromhex(about["data"])) == 32  # a sha256
    assert about["store_hash"] == manifest["identity_sha256"]
    assert about["device"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (about["device"]["threads"], about["device"]["processes"]) == (1, 1)
    result = json.loads((tmp_path / "run" / "fold0" / "result.json").read_text())
    assert result["device"]["batches"] == ("device" if torch.cuda.is_available() else "workers")
    environment = about["environment"]
    assert environment["packages"]["torch"] == version("torch")
    assert {"command", "commit", "python", "machine", "packages"} <= environment.keys()
    assert environment["command"]
    if (repository / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
        assert environment["commit"].rstrip("+") == head.stdout.strip()
