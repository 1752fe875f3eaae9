"""What the docs promise of every command: no network, no file elsewhere, no process left behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kaggle_unet.synthetic.files import write_dsb_zip
from tests.steps.conftest import COMMON, CONFIGS

KIT = [sys.executable, "-m", "kaggle_unet"]


def test_the_tests_and_what_they_start_have_no_network():
    with pytest.raises(OSError, match="the tests have no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the tests have no network" in ended.stderr


@pytest.fixture
def home(tmp_path):
    """A folder with a config, and empty folders for all that a command might write elsewhere."""
    (tmp_path / "tiny.yaml").write_text(CONFIGS["dsb2018"] + COMMON)
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # a socket's name has at most 107 characters
        (tmp_path / "tmp").symlink_to(short)
        yield tmp_path


def start(home, *words):
    """Start a command in a session of its own, away from the data."""
    places = {
        "HOME": str(home / "home"),
        "TMPDIR": str((home / "tmp").resolve()),
        "XDG_CACHE_HOME": str(home / "home/.cache"),
    }
    environment = {**os.environ, **places, "XDG_CONFIG_HOME": str(home / "home/.config")}
    return subprocess.Popen(
        [*KIT, *map(str, words)], cwd=home / "here", env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def processes_of(session):
    """List the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def wait_until(is_done):
    for _ in range(1200):
        if is_done():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within a minute")


def test_ctrl_c_says_what_goes_on_and_leaves_neither_processes_nor_files(home):
    write_dsb_zip(home / "train.zip", 1, 70, shape=(48, 56))  # enough for several processes
    store = home / "store"
    words = ["make-targets", home / "tiny.yaml", "--data", home / "train.zip", "--store", store, "--workers", 2]
    with start(home, *words) as process:
        wait_until(lambda: list((home / "store").glob("samples/*.npz")))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    again = " ".join(["kaggle-unet", *map(str, words)])
    assert err == f"error stopped by Ctrl-C; what was finished is kept; to go on: {again}\n"
    wait_until(lambda: not processes_of(process.pid))
    assert list((home / "tmp").iterdir()) == []


def test_nothing_is_written_outside_the_named_folders_but_in_the_places_listed(home):
    write_dsb_zip(home / "train.zip", 1, 8, shape=(48, 56))
    prepare = ["make-targets", home / "tiny.yaml", "--data", home / "train.zip", "--store", home / "store"]
    train = ["train", home / "tiny.yaml", "--fold", 0, "--store", home / "store", "--run", home / "run"]
    for words in (prepare, [*train, "--set", "training.epochs=1", "--set", "training.workers=1"]):
        with start(home, *words) as process:
            _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        wait_until(lambda: not processes_of(process.pid))
    expected = {"tiny.yaml", "train.zip", "home", "tmp", "here", "store", "run"}
    assert {path.name for path in home.iterdir()} == expected
    assert list((home / "here").iterdir()) == []
    assert [path for path in (home / "tmp").iterdir() if not path.name.startswith("torchinductor_")] == []
    libraries = {path.relative_to(home / "home").parts[:2] for path in (home / "home").rglob("*") if path.is_file()}
    assert libraries <= {(".cache", "matplotlib"), (".cache", "kaggle-unet")}
