"""Atomic files: old or new, never between; and errors that say what to do."""

import errno
import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from kaggle_unet.errors import ResourceError, refuse_little_memory
from kaggle_unet.store import atomic, atomic_write, sha256
from kaggle_unet.store.atomic import explain_os_error, flush_files, resource_errors, to_resource_error, try_to_write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("data", "wanted"), [(b"\x00\r\n", b"\x00\r\n"), ("é\n", b"\xc3\xa9\n"), ("a\r\n", b"a\r\n")])
def test_bytes_and_text_are_written_as_they_are(tmp_path, data, wanted):
    atomic_write(tmp_path / "new" / "x", data)
    assert (tmp_path / "new" / "x").read_bytes() == wanted
    assert names(tmp_path / "new") == ["x"]


def test_text_comes_in_pieces_and_a_fault_between_them_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    atomic_write(path, (f"{number}\n" for number in range(3)))
    assert path.read_text() == "0\n1\n2\n"

    def broken():
        yield "half"
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  the generator's own
        atomic_write(path, broken())
    assert path.read_text() == "0\n1\n2\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_fault_while_writing_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    atomic_write(tmp_path / "x", b"old")

    def fail(_):
        assert (tmp_path / "x").read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
        raise KeyError

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyError):
        atomic_write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path):
    atomic_write(tmp_path / "x", b"old")
    with (tmp_path / "x").open("rb") as reader:
        atomic_write(tmp_path / "x", b"new")
        assert reader.read() == b"old"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    atomic_write(tmp_path / ("x" * 255), b"new")
    with pytest.raises(ResourceError, match="the name is too long"):
        atomic_write(tmp_path / ("x" * 256), b"new")


def test_a_full_disk_leaves_the_old_file_and_says_how_much_is_free(tmp_path):
    atomic_write(tmp_path / "x", b"old")
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old_limit[1]))
    try:
        with pytest.raises(ResourceError, match=rf"cannot write {tmp_path}/x: .*MiB free\); free some space"):
            atomic_write(tmp_path / "x", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space, or write to another disk"),
        (errno.EACCES, "change its permissions, or write elsewhere"),
        (errno.EROFS, "the disk is read-only; write elsewhere"),
    ],
)
def test_what_the_system_refuses_is_a_resource_error_with_a_remedy(tmp_path, monkeypatch, code, remedy):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match=rf"cannot write {tmp_path}/x: .*; {remedy}"):
        atomic_write(tmp_path / "x", b"new")


def test_errors_that_have_nothing_to_do_with_writing_pass(tmp_path):
    with pytest.raises(FileNotFoundError), resource_errors(tmp_path / "x"):
        (tmp_path / "nothing").read_bytes()


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(ResourceError, match="a folder of that name is there"):
        atomic_write(tmp_path / "x", b"new")


@contextmanager
def half_written(path, repository):
    """Start a process that is writing a file, and yield it."""
    script = f"""
        import os, time
        from kaggle_unet.store import atomic_write
        os.fsync = lambda _: (print("written", flush=True), time.sleep(60))
        atomic_write({str(path)!r}, b"half")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository) as process:
        assert process.stdout.readline() == b"written\n"
        yield process
        process.kill()


def test_a_killed_writer_leaves_the_old_file_and_a_temporary_one_that_the_next_writer_removes(tmp_path, repository):
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "x").write_bytes(b"old")
    (folder / ".mine.tmp").write_bytes(b"kept")
    with half_written(folder / "x", repository):
        pass
    assert (folder / "x").read_bytes() == b"old"
    assert len(names(folder)) == 3
    atomic_write(folder / "y", b"new")
    assert names(folder) == [".mine.tmp", "x", "y"]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path, repository):
    with half_written(tmp_path / "x", repository):
        atomic_write(tmp_path / "y", b"new")
        assert len(names(tmp_path)) == 2
        assert names(tmp_path)[1] == "y"


def test_a_file_that_another_process_sweeps_before_it_is_locked_is_opened_anew(tmp_path, monkeypatch):
    swept = []

    def sweep(file, mode):
        if not swept:
            swept.append(file.name)
            Path(file.name).unlink()

    monkeypatch.setattr(fcntl, "flock", sweep)
    atomic_write(tmp_path / "x", b"new")
    assert (swept, names(tmp_path)) == ([swept[0]], ["x"])


def test_writers_at_the_same_time_do_not_meet(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: atomic_write(tmp_path / "x", b"between", flush=False))
        atomic_write(tmp_path / "x", b"last")
    assert (tmp_path / "x").read_bytes() == b"last"
    assert names(tmp_path) == ["x"]


def test_hashes_are_those_of_hashlib(tmp_path):
    (tmp_path / "x").write_bytes(bytes(3_000_000))
    assert sha256(tmp_path / "x") == hashlib.sha256(bytes(3_000_000)).hexdigest()


def test_files_written_at_different_times_are_equal(tmp_path):
    atomic_write(tmp_path / "x", b"1")
    time.sleep(0.01)
    atomic_write(tmp_path / "y", b"1")
    assert sha256(tmp_path / "x") == sha256(tmp_path / "y")


def test_files_written_without_a_flush_are_flushed_together(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: flushed.append(str(Path(f"/proc/self/fd/{fd}").readlink())) or fsync(fd)
    )
    paths = [tmp_path / f"{number}" for number in range(50)]
    for path in paths:
        atomic_write(path, "x", flush=False)
    assert flushed == []
    flush_files(paths)
    assert sorted(flushed) == sorted(map(str, paths))


def test_a_file_that_cannot_be_flushed_is_named(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    atomic_write(tmp_path / "x", "x", flush=False)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match=r"cannot write .*x: Input/output error; the disk fails"):
        flush_files([tmp_path / "x"])


def test_a_place_that_takes_no_files_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for place in (Path("/proc/x.csv"), Path("/proc/new/x.csv"), tmp_path / "file" / "x.csv"):
        for write in (try_to_write, lambda path: atomic_write(path, "x")):
            with pytest.raises(ResourceError, match=rf"cannot write {place}: .*write elsewhere"):
                write(place)
    try_to_write(tmp_path / "new" / "x.csv")
    assert names(tmp_path) == ["file"]


def test_text_that_is_no_utf_8_is_written_with_escapes(tmp_path):
    atomic_write(tmp_path / "x.html", "jos\udce9")
    assert (tmp_path / "x.html").read_bytes() == rb"jos\udce9"


def test_a_full_disk_without_a_name_is_that_of_temporary_files_or_caches():
    text = explain_os_error(OSError(errno.ENOSPC, "No space left on device"))
    assert text.startswith("the folder of temporary files (TMPDIR) or numba's (NUMBA_CACHE_DIR): No space left")


@contextmanager
def leaving(n_mib):
    """Leave some MiB of address space."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + n_mib * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def half_imported():
    try:
        raise MemoryError
    except MemoryError:
        try:
            {}["x"]
        except KeyError as error:
            return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "libtorch_cpu.so: failed to map"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "DefaultCPUAllocator"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        (half_imported(), "'x'"),
    ],
)
def test_a_lack_of_memory_is_known_in_whatever_words_it_comes(error, reason):
    assert f"out of memory or threads ({reason}" in str(error := to_resource_error(error)).replace("[Errno 12] ", "")
    assert error.exit_code == 4


def test_what_fails_while_memory_is_short_fails_for_that_reason():
    fault = TypeError("'frame' object is not callable")
    assert to_resource_error(fault) is None
    with leaving(16):
        found = to_resource_error(fault)
    assert "out of memory or threads ('frame' object is not callable); end other programs" in str(found)


def test_nothing_begins_where_libraries_would_end_the_process():
    refuse_little_memory()
    with leaving(500), pytest.raises(ResourceError, match=r"under 1 GiB of memory can be had; .* \(ulimit -v\)"):
        refuse_little_memory()


def test_a_whole_file_is_not_swept_before_it_has_its_name(tmp_path, monkeypatch):
    replace = Path.replace

    def sweep_first(path, target):
        atomic._sweep.cache_clear()
        atomic._sweep(tmp_path, 0)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", sweep_first)
    atomic_write(tmp_path / "x", b"x", flush=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x"]
