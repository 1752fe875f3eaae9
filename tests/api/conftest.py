"""Drawn nuclei in a zip, and a run of two folds that was tuned."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from kaggle_unet.synthetic.files import write_dsb_zip
from kaggle_unet.types import Labels
from tests.steps.conftest import COMMON, CONFIGS, call


@dataclass(frozen=True)
class Tuned:
    """A run, and images that it has not seen."""

    home: Path
    config: Path
    run: Path
    test: Path
    truth: dict[str, Labels]


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Drawn nuclei, prepared, trained on two folds and tuned by the command line."""
    home = tmp_path_factory.mktemp("api")
    config, run = home / "configs" / "tiny.yaml", home / "run"
    config.parent.mkdir()
    config.write_text(CONFIGS["dsb2018"] + COMMON)
    write_dsb_zip(home / "train.zip", 1, 8, shape=(48, 56))
    truth = write_dsb_zip(home / "test.zip", 2, 3, shape=(48, 56), with_masks=False)
    for words in (
        ("make-targets", config, "--data", home / "train.zip", "--store", home / "store"),
        ("train", config, "--fold", "all", "--store", home / "store", "--run", run),
        ("tune", config, "--run", run, "--trials", 8),
    ):
        answer = call(*words)
        assert answer.code == 0, answer.err
    return Tuned(home, config, run, home / "test.zip", truth)
