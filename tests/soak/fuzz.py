"""Damaged files: every reader returns a value that it may believe, or one of the kit's errors.

Inputs depend on the seed, the reader and their number alone. They are read in a process of their own, which a crash of
a decoder may take with it; a reading that takes over ten seconds of the processor, or two GiB, is a fault.
"""

import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from kaggle_unet.errors import KitError
from tests.soak.damage import damage
from tests.soak.home import prepare
from tests.soak.readers import READERS, Reader
from tests.soak.row import Plan, Row, read_rows

LIMIT_S, LIMIT_BYTES = 10, 2 * 2**30
PROMISE = "read as it was written, or refused with the file's name"


class _TooLong(BaseException):
    pass


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per reader; with `--guided`, more, whose damage is led by the code that it reaches."""
    for name in READERS:
        yield name, partial(_fuzz_apart, name, plan)
    if plan.guided and find_spec("atheris") is None:
        print("guided fuzzing is left out: .venv/bin/pip install atheris", file=sys.stderr)
    elif plan.guided:
        for name in READERS:
            yield f"{name}, guided", partial(_guide, name, plan)


def _guide(name: str, plan: Plan) -> Row:
    """Fuzz with atheris, which takes its process with it."""
    n = str(plan.tries(full=10_000, quick=20))
    kept = plan.home / "guided.jsonl"
    kept.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tests.soak.guided", str(prepare(plan.home)), name, str(plan.seed), n, str(kept)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, errors="replace")
    row = read_rows(kept)[-1] if kept.exists() else Row("fuzz", f"{name}, guided", PROMISE)
    if ended.returncode:
        row.add("raw", f"input {row.n}: the process ended with {ended.returncode}: {ended.stderr[-300:]}")
    return row


def _fuzz_apart(name: str, plan: Plan) -> Row:
    """Fuzz in a process, and go on behind the input that has killed it."""
    made, n = prepare(plan.home), plan.tries(full=10_000, quick=20)
    row, context = Row("fuzz", name, PROMISE), get_context("fork")
    at = context.Value("q", 0)
    while row.n < n:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_fuzz, args=(name, made, plan, row, n, at, theirs))
        process.start()
        theirs.close()
        try:
            row = ours.recv()
        except EOFError:
            process.join()
            if process.exitcode is not None and process.exitcode >= 0:
                msg = f"the harness failed on input {at.value} of {name}"
                raise RuntimeError(msg) from None
            row.n = at.value
            row.add("raw", f"input {at.value}: the process ended with {process.exitcode}")
        process.join()
    return row


def restrain() -> None:
    """Limit the memory of this process, and silence what decoders print."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _stop)
    warnings.simplefilter("ignore")
    logging.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what decoders in C print


def _fuzz(name: str, made: Path, plan: Plan, row: Row, n: int, at: Any, results: Any) -> None:
    restrain()
    with tempfile.TemporaryDirectory(prefix="soak-fuzz-", dir=fast_folder()) as folder:
        home = Path(folder, "made")
        shutil.copytree(made, home)
        reader = READERS[name](home)
        sound = [freeze(reader.read(seed)) for seed in reader.seeds]
        for number in range(row.n, n):
            at.value = number
            row.add(*try_once(reader, sound, random.Random(f"{plan.seed}/{name}/{number}"), number))
    results.send(row)


def fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _TooLong


def try_once(reader: Reader, sound: list[Any], rng: random.Random, number: int) -> tuple[str, str]:
    """Damage an input, and read it."""
    which = rng.randrange(len(reader.seeds))
    is_deep = reader.deep is not None and rng.random() < 0.5
    data = (reader.deep if is_deep and reader.deep else damage)(reader.seeds[which], rng, reader.seeds)
    return judge(reader, sound, data, is_deep, number)


def judge(reader: Reader, sound: list[Any], data: bytes, is_deep: bool, number: int) -> tuple[str, str]:
    """Read an input, and judge what comes."""
    begin = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        value = reader.read(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        fault = reader.check(data, value)
        if not fault and reader.has_checksum and not is_deep and freeze(value) not in sound:
            fault = "not what was written"
    except KitError as error:
        return ("refused", "") if len(str(error)) > 10 else ("raw", f"input {number}: no reason")
    except _TooLong:
        return "hang", f"input {number}: over {LIMIT_S} s"
    except MemoryError:
        return "memory", f"input {number}: over {LIMIT_BYTES / 2**30:.0f} GiB, {traceback.format_exc()[-200:]}"
    except Exception as error:  # noqa: BLE001 this is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        here = [frame for frame in traceback.extract_tb(error.__traceback__) if "kaggle_unet/" in frame.filename]
        place = f"{Path(here[-1].filename).name}:{here[-1].lineno}" if here else f"{last.filename}:{last.lineno}"
        return "raw", f"input {number}: {type(error).__name__} at {place}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (seconds := time.process_time() - begin) > LIMIT_S:
        return "hang", f"input {number}: {seconds:.0f} s"
    return ("wrong", f"input {number}: {fault}") if fault else ("done", "")


def freeze(value: Any) -> Any:
    """Turn a value into one that can be compared."""
    if isinstance(value, Mapping):
        return tuple((key, freeze(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(freeze, value))
    if hasattr(value, "numpy"):
        value = value.numpy()
    return (str(value.dtype), value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
