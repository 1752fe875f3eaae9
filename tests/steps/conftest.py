"""Small drawn competitions, and the command line called in this process."""

import contextlib
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from kaggle_unet.cli import main
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder, write_tgs_zip
from kaggle_unet.types import Labels

COMMON = """
folds: {n: 2, stratify: none}
model: {name: plain_unet, filters: 4, depth: 2}
training: {epochs: 2, batch: 4, optimizer: {name: adam, learning_rate: 1e-2}}
"""
CONFIGS = {
    "dsb2018": """
competition: {name: dsb2018}
weights: {distance: {}, size: {}, classes: {border: 2}}
augmentation: {preset: light, crop_px: 32}
inference: {flips: d4}
postprocess: {fill_holes_px: 5, min_area_px: 3}
""",
    "tgs": """
competition: {name: tgs}
codec: {name: mask}
input: {channels: [gray, ramp, depth], normalize: range}
augmentation: {preset: salt}
inference: {flips: horizontal}
decode: {single_object: true}
""",
    "folder": """
competition: {name: folder}
codec: {name: mask_border, border: {rule: touching, radius_px: 1}}
augmentation: {preset: nuclei, crop_px: 32}
""",
}


@dataclass(frozen=True)
class Answer:
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Trained:
    """A drawn competition after `make-targets` and `train --fold 0,1`."""

    name: str
    home: Path
    config: Path
    train: Path
    test: Path
    store: Path
    run: Path
    truth: dict[str, Labels]

    @property
    def checkpoints(self) -> list[str]:
        """Options that name both folds."""
        return ["--checkpoint", str(self.run / "fold0"), "--checkpoint", str(self.run / "fold1")]


def call(*words: object) -> Answer:
    """Run `kaggle-unet` with these words."""
    out, err = io.StringIO(), io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    for number, handler in before.items():
        signal.signal(number, handler)
    code = end.value.code
    return Answer(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def draw(name: str, home: Path) -> tuple[Path, Path, dict[str, Labels]]:
    """Write a competition's training and test data."""
    if name == "folder":
        write_folder(home / "train", 1, 8, shape=(48, 56))
        return home / "train", home / "test", write_folder(home / "test", 2, 4, shape=(48, 56))
    write: Callable[..., dict[str, Labels]] = write_dsb_zip if name == "dsb2018" else write_tgs_zip
    options = {"shape": (48, 56)} if name == "dsb2018" else {}
    write(home / "train.zip", 1, 8, **options)
    truth = write(home / "test.zip", 2, 4, with_masks=False, **options)
    return home / "train.zip", home / "test.zip", truth


@pytest.fixture(scope="session")
def drawn_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, Path]]:
    """A fresh folder with a config and drawn data: call with a competition's name."""

    def make(name: str) -> tuple[Path, Path, Path]:
        home = tmp_path_factory.mktemp(name)
        train, test, _ = draw(name, home)
        config = home / "configs" / name / "tiny.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIGS[name] + COMMON)
        return config, train, test

    return make


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A drawn competition, prepared and trained, by its name: made once for all processes of pytest."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str) -> Path:
        home = base / f"made {name}"
        with FileLock(base / f"{name}.lock"):
            if not (home / "done").exists():
                train, _, _ = draw(name, home)
                config = home / "configs" / name / "tiny.yaml"
                config.parent.mkdir(parents=True)
                config.write_text(CONFIGS[name] + COMMON)
                for words in (
                    ("make-targets", config, "--data", train, "--store", home / "store", "--preview", 2),
                    ("train", config, "--fold", "all", "--store", home / "store", "--run", home / "run"),
                ):
                    answer = call(*words)
                    assert answer.code == 0, answer.err
                (home / "done").touch()
        return home

    return make


@pytest.fixture(scope="session", params=list(CONFIGS))
def trained(request: pytest.FixtureRequest, trained_home, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Each competition, drawn, prepared and trained; a copy, which tests may change."""
    name = request.param
    home = tmp_path_factory.mktemp(f"trained {name} ü")
    shutil.copytree(trained_home(name), home, dirs_exist_ok=True)
    train, test, truth = draw(name, home)  # the same bytes
    return Trained(name, home, home / "configs" / name / "tiny.yaml", train, test, home / "store", home / "run", truth)
