"""A tiny experiment, drawn, prepared and trained, on which the soak tries everything; and commands in processes.

A command is a process forked from this one, which has imported everything: hundreds are killed in the time that
starting one Python with torch takes dozens of times over.
"""

import fcntl
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from kaggle_unet.cli import main
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder

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
CODES = {0, 2, 3, 4, 5, 130, 143}


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
    stop: tuple[float, int] | None = None,
    limit_s: float = 120,
) -> End:
    """Run `kaggle-unet` with these words in a process; `stop` sends it a signal after some seconds."""
    pipes = [os.pipe(), os.pipe()]  # files would be full where a disk is
    for ours, theirs in pipes:
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 2**20)
        os.set_blocking(ours, False)
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        _run([str(word) for word in words], [theirs for _, theirs in pipes], before)
    code = _wait(child, begin, stop, limit_s)
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
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int, begin: float, stop: tuple[float, int] | None, limit_s: float) -> int:
    """Wait for a process, and return its code; that of SIGALRM if it had to be ended."""
    sent = is_late = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return -signal.SIGALRM if is_late else os.waitstatus_to_exitcode(status)
        now = time.monotonic() - begin
        if stop is not None and not sent and now >= stop[0]:
            os.kill(child, stop[1])
            sent = True
        if now > limit_s:
            os.kill(child, signal.SIGKILL)
            is_late = True
        time.sleep(0.002)


def _wait_for_session(session: int) -> int:
    """Wait three seconds for what a process has started; kill what is left, and return its number."""
    for _ in range(30):
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
        "encodings.cp437",
        "encodings.idna",
        "concurrent.futures.process",
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
        return made
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    write_dsb_zip(made / "train.zip", 1, 10, shape=(48, 56))
    write_dsb_zip(made / "test.zip", 2, 4, with_masks=False, shape=(48, 56))
    write_folder(made / "folder", 3, 4, shape=(48, 56))
    (made / "config.yaml").write_text(CONFIG)
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
    return made
