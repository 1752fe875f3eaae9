"""Work over several processes: nothing hangs, and nobody stays behind, when one is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaggle_unet.errors import ResourceError
from kaggle_unet.steps.parallel import map_samples

IDS = [f"{i:03d}" for i in range(64)]


def die_at_ten(id_):
    """Be killed, as by the system when memory runs out."""
    if id_ == "010":
        os.kill(os.getpid(), signal.SIGKILL)
    return id_


def write_pid(id_):
    """Tell which process works, and take long."""
    Path(os.environ["PIDS"], f"{os.getpid()}").touch()
    time.sleep(0.2)
    return id_


def test_a_killed_worker_is_a_message_with_what_to_do():
    with pytest.raises(ResourceError, match=r"a worker process was killed.*--workers 1"):
        list(map_samples(die_at_ten, IDS, 2))


def test_when_the_parent_is_killed_its_workers_end_and_leave_no_folder(tmp_path):
    pids, temporary = tmp_path / "pids", tmp_path / "tmp"
    pids.mkdir()
    temporary.mkdir()
    code = "from tests.steps.test_parallel import *; list(map_samples(write_pid, IDS, 2))"
    environment = {**os.environ, "PIDS": str(pids), "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        while len(list(pids.iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.02)
        parent.kill()
    workers = [int(path.name) for path in pids.iterdir()]
    for _ in range(500):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert list(temporary.glob("kaggle-unet-*")) == []


def blocked_signals(_):
    """Tell which signals a process does not get."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_workers_never_get_ctrl_c_not_even_while_they_start():
    (found,) = set(map(frozenset, map_samples(blocked_signals, IDS[:4], 2, least=0)))
    assert signal.SIGINT in found
    assert signal.SIGINT not in blocked_signals(None)
