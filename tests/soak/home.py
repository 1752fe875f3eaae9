"""A tiny experiment, drawn, prepared and trained, on which the soak tries everything; and commands in processes.

A command is a process forked from this one, which has imported everything: hundreds are killed in the time that
starting one Python with torch takes dozens of times over.
"""

import fcntl
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from pkgutil import iter_modules
from typing import Never

from kaggle_unet.cli import main
from kaggle_unet.steps.build import load_ensemble
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder
from tests.bench.warm import warm

CONFIG = """\
competition: {name: dsb2018}
codec: {name: mask_border, border: {rule: touching, radius_px: 1}}
weights: {classes: {border: 2}}
folds: {n: 2, stratify: none, group: none}
model: {name: plain_unet, filters: 4, depth: 2}
augmentation: {preset: light, crop_px: 32}
training: {epochs: 2, batch: 4, threads: 1, optimizer: {name: adam, learning_rate: 1e-2}}
postprocess: {min_area_px: 3}
"""
_WORKER = re.compile(rb"multiprocessing\.(spawn|forkserver)")
CODES = {0, 2, 3, 4, 5, 130, 143}
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    orphans: int

    def verdict(self, *fine: int) -> tuple[str, str]:
        """Judge by what every command promises: `done`, `refused`, or a kind of fault with its detail."""
        said = f"exit {self.code}: {self.err[-300:]}"
        if self.orphans:
            return "orphan", f"{self.orphans} processes stay; {said}"
        if self.code == -signal.SIGALRM:
            return "hang", said
        is_raw = "Traceback" in self.err or "This is a bug" in self.err or self.code not in {*CODES, *fine}
        has_reason = len(self.err.partition("error")[2].strip()) > 10
        if is_raw or (self.code in {2, 3, 4, 5} and not has_reason):
            return "raw", said
        return ("done" if self.code == 0 else "refused"), said


def nothing() -> None:
    """Do nothing."""


def call(
    words: Sequence[object],
    *,
    before: Callable[[], object] = nothing,
    stop: tuple[float, Callable[[int], object]] | None = None,
    watch: Callable[[int], object] = abs,
    limit_s: float = 120,
) -> End:
    """Run `kaggle-unet` with these words in a process.

    `stop` is done to its number after some seconds; `watch` fifty times a second.
    """
    pipes = [os.pipe(), os.pipe()]  # files would be full where a disk is
    for ours, theirs in pipes:
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 2**20)
        os.set_blocking(ours, False)
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        _run(
            [str(word) for word in words], [theirs for _, theirs in pipes], lambda: (os.write(started, b"."), before())
        )
    os.read(ready, 1)  # where others compute, it may take a while
    begin = time.monotonic()
    for end in (ready, started):
        os.close(end)
    code = _wait(child, begin, stop, watch, limit_s)
    seconds = time.monotonic() - begin
    orphans = _wait_for_session(child)
    out, err = (_drain(*pipe) for pipe in pipes)
    return End(code, out, err, seconds, orphans)


def _drain(ours: int, theirs: int) -> str:
    """Read what a pipe of an ended process holds."""
    os.close(theirs)
    text = b""
    with suppress(BlockingIOError):
        while piece := os.read(ours, 2**16):
            text += piece
    os.close(ours)
    return text.decode(errors="replace")


def _run(words: list[str], outputs: Sequence[int], before: Callable[[], object]) -> None:
    code = 70
    sys.modules["__main__"] = types.ModuleType("__main__")  # workers would import the soak
    try:
        os.setsid()
        for number, pipe in enumerate(outputs, start=1):
            os.dup2(pipe, number)
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 the process's own, to its end
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, errors="replace") for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 this is what the soak looks for
        traceback.print_exc()
        code = 1
    finally:
        with suppress(BaseException):
            threading._shutdown()  # an interpreter that ends waits for its threads, and so for its workers
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def start_anew(words: Sequence[object], **environment: str) -> Never:
    """Go on as an interpreter that has just been started: for `before`."""
    words = [sys.executable, "-m", "kaggle_unet", *map(str, words)]
    os.execve(sys.executable, words, {**os.environ, "PYTHONPATH": str(ROOT), **environment})


def _wait(
    child: int,
    begin: float,
    stop: tuple[float, Callable[[int], object]] | None,
    watch: Callable[[int], object],
    limit_s: float,
) -> int:
    """Wait for a process, and return its code; that of SIGALRM if it had to be ended."""
    is_late, watched = False, 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return -signal.SIGALRM if is_late else os.waitstatus_to_exitcode(status)
        now = time.monotonic() - begin
        if stop is not None and now >= stop[0]:
            stop[1](child)
            stop = None
        if now > watched / 50:
            watch(child)
            watched += 1
        if now > limit_s:
            os.kill(child, signal.SIGKILL)
            is_late = True
        time.sleep(0.002)


def send(number: int) -> Callable[[int], None]:
    """Return what sends a signal to a process."""
    return lambda process: os.kill(process, number)


def kill_worker(process: int) -> None:
    """Kill one of the workers of a process, as the system does where memory is short."""
    workers = [one for one in _session(process) if one != process and _WORKER.search(words_of(one))]
    with suppress(ProcessLookupError):
        os.kill(max(workers, default=2**22), signal.SIGKILL)


def words_of(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _wait_for_session(session: int) -> int:
    """Wait ten seconds for what a process has started; kill what is left, and return its number."""
    for _ in range(100):
        if not (left := _session(session)):
            return 0
        time.sleep(0.1)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(left)


def _session(session: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def import_everything() -> None:
    """Import what the verbs import when they are called, so that a forked process need not."""
    for name in ("albumentations", "lightgbm", "optuna", "skimage.feature", "pandas", "matplotlib.pyplot", "tifffile"):
        import_module(name)
    for name in (
        "cProfile",
        "pstats",
        "encodings.cp437",
        "encodings.utf_8_sig",
        "getpass",
        "ctypes.wintypes",
        "encodings.idna",
        "concurrent.futures.process",
        "onnx",
        "onnxruntime",
        "rich._emoji_codes",
        "rich.progress",
        "zipfile",
        "lzma",
        "bz2",
    ):
        import_module(name)  # another user may not be allowed to read Python's own files
    for module in ("api", "report", "steps", "training", "inference", "competitions"):
        package = import_module(f"kaggle_unet.{module}")
        for found in iter_modules(getattr(package, "__path__", [])):
            import_module(f"{package.__name__}.{found.name}")


def prepare(home: Path) -> Path:
    """Draw, prepare and train the experiment, or take what an earlier call has left."""
    import_everything()
    made = home / "made"
    if (made / "done").exists():
        warm_up(made)
        return made
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    write_dsb_zip(made / "train.zip", 1, 10, shape=(48, 56))
    write_dsb_zip(made / "test.zip", 2, 4, with_masks=False, shape=(48, 56))
    write_dsb_zip(made / "many.zip", 4, 64, shape=(32, 32))  # enough for several processes
    write_folder(made / "folder", 3, 4, shape=(48, 56))
    (made / "config.yaml").write_text(CONFIG)
    (made / "plan.yaml").write_text(
        "{configs: [{config: made/config.yaml, data: made/train.zip, name: x}], verbs: [make-targets]}"
    )
    here = sorted({f"{one.name}=={one.version}" for one in distributions()})  # kernel has nothing to download
    (made / "image.txt").write_text("\n".join([f"Python {sys.version_info[0]}.{sys.version_info[1]}", *here]))
    run = made / "run"
    for words in (
        ("make-targets", made / "config.yaml", "--data", made / "train.zip", "--store", made / "store"),
        ("train", made / "config.yaml", "--fold", "all", "--store", made / "store", "--run", run),
        ("predict", run, "--oof"),
        ("tune", run, "--trials", 3),
        ("second-level", run),
        ("submit", run, "--data", made / "test.zip", "-o", made / "a.csv", "--second-level", "none"),
        ("submit", run, "--data", made / "test.zip", "-o", made / "b.csv", "--checkpoint", run / "fold0"),
    ):
        end = call(["-q", *words])
        if end.code != 0:
            msg = f"the soak's experiment can't be made: {words[0]} ended with {end.code}: {end.err}"
            raise RuntimeError(msg)
    (made / "done").touch()
    warm_up(made)
    return made


@cache
def warm_up(made: Path) -> None:
    """Load the compiled loops, and what torch imports when a network is read: a command does it in a second."""
    warm()
    load_ensemble([made / "run" / "fold0"])
