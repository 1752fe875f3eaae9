"""Locks: one process at a time, and none left behind."""

import contextlib
import errno
import fcntl
import subprocess
import sys
import textwrap
import threading

import pytest

from kaggle_unet.errors import LockedError, ResourceError
from kaggle_unet.store import atomic, lock
from kaggle_unet.types import Shard


def hold(folder, repository):
    """Start a process that holds the folder, and wait until it does."""
    script = f"""
        import time
        from kaggle_unet.store import lock
        with lock({str(folder)!r}):
            print("held", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path, repository):
    with hold(tmp_path / "store", repository) as process:
        match = rf"store is in use by process {process.pid} on \S+; wait until"
        with pytest.raises(LockedError, match=match), lock(tmp_path / "store"):
            pass
        process.kill()


def test_a_killed_process_holds_nothing(tmp_path, repository):
    with hold(tmp_path, repository) as process:
        process.kill()
        process.wait()
        with lock(tmp_path):
            pass


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with lock(tmp_path), pytest.raises(LockedError), lock(tmp_path):
            pass


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    match = r"cannot write .*/\.lock: No locks available; use a folder on a local disk"
    with pytest.raises(ResourceError, match=match), lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="one of its folders is a file"), lock(tmp_path / "file" / "store"):
        pass


@pytest.mark.parametrize("name", [".lock", ".lock.holder"])
def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path, name):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / name).symlink_to(tmp_path / "victim")
    match = r"\.lock: .*; it is a symbolic link, which is not followed; remove it"
    refused = pytest.raises(ResourceError, match=match) if name == ".lock" else contextlib.nullcontext()
    with refused, lock(tmp_path / "store"):
        pass
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_lock_is_waited_for_where_that_is_wanted(tmp_path, repository):
    with hold(tmp_path, repository) as process:
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        with lock(tmp_path, wait_s=60):
            killer.join()


def test_shards_share_a_folder_and_keep_out_the_whole(tmp_path):
    first, second = Shard(1, 2), Shard(2, 2)
    with lock(tmp_path, shard=first) as held:
        assert held.others() == []
        held.release_to_shards()
        with lock(tmp_path, shard=second) as other:
            assert [path.name for path in other.others()] == [".lock.1-of-2"]
            other.release_to_shards()
            for shard in (None, first, second):
                with pytest.raises(LockedError, match="is in use by process"), lock(tmp_path, shard=shard):
                    pass
        with pytest.raises(LockedError), lock(tmp_path):
            pass
    with lock(tmp_path):
        assert not list(tmp_path.glob(".lock.*-of-*"))


def test_a_shard_does_not_begin_beside_one_that_begins_or_beside_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_SHARDS_BEGIN_WITHIN_S", 0)
    for shard in (None, Shard(1, 2)):
        with lock(tmp_path, shard=shard), pytest.raises(LockedError), lock(tmp_path, shard=Shard(2, 2)):
            pass
    with lock(tmp_path, shard=Shard(2, 2)):
        pass


def test_one_process_at_a_time_writes_a_file_and_its_lock_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_OUTPUT_WITHIN_S", 0)
    with atomic.lock_file(tmp_path / "x.csv"):
        refused = pytest.raises(LockedError, match=r"another process is writing .*x\.csv; wait")
        with refused, atomic.lock_file(tmp_path / "x.csv"):
            pass
        with atomic.lock_file(tmp_path / "y.csv"):
            pass
    assert not list(tmp_path.iterdir())
