"""What `scripts/gpu-check` runs: the tests by device, `bench-train` of three networks, and `submit`, as one JSON.

Each part runs in what is left of the time; one that fails or comes too late says so in the JSON, and the others go on.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from kaggle_unet.config import Config, parse_config
from tests.gpu.page import PAGE, PLACE, keep

TESTS = ["tests/training/test_gpu.py", "tests/inference/test_gpu.py", "tests/data/test_device_intensity.py"]
CONFIG = """\
competition: {{name: dsb2018}}
codec: {{name: mask_border, border: {{rule: touching, radius_px: 2}}}}
folds: {{n: 2, group: none}}
model: {model}
augmentation: {{preset: {preset}, crop_px: {side}, crops_per_image: {crops}}}
training: {{epochs: 1, batch: {batch}, compile: {compile}, optimizer: {{name: adamw, learning_rate: 2e-3}}}}
inference: {{flips: d4, batch: 8}}
"""
UNET, RESNET = "{name: plain_unet, filters: 16, depth: 4}", "{name: smp, encoder: resnet34}"
TINY = "{name: plain_unet, filters: 4, depth: 2}"
PRESETS = ("none", "light", "first_place")  # beside nuclei, which all other rows have


def config(
    model: str, side: int, batch: int, *, preset: str = "nuclei", compiled: bool = False, crops: int = 16
) -> Config:
    """Write a config of nuclei."""
    words = {"model": model, "side": side, "batch": batch, "preset": preset, "crops": crops}
    return parse_config(CONFIG.format(**words, compile=str(compiled).lower()))


def rows(device: str) -> Iterator[tuple[str, Config, int]]:
    """Name what is measured, with the steps of a round; the rows that matter most come first."""
    if device == "cpu":
        yield "16-filter U-Net, here with 4 filters, 32²", config(TINY, 32, 4, crops=1), 2
        return
    nets = [
        ("16-filter U-Net, 128²", UNET, 128, 32),
        ("16-filter U-Net, 256²", UNET, 256, 16),
        ("smp resnet34, 256²", RESNET, 256, 16),
    ]
    for name, model, side, batch in nets:
        yield name, config(model, side, batch), 24
    for preset in PRESETS:
        yield f"16-filter U-Net, 256², preset {preset}", config(UNET, 256, 16, preset=preset), 24
    for name, model, side, batch in nets:
        yield f"{name}, compiled", config(model, side, batch, compiled=True), 24


def run_tests(device: str, seconds: float) -> dict[str, Any]:
    """Run the tests marked `gpu`, or their twins for the CPU, in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        chosen = [*TESTS, "-m", "gpu"] if device == "cuda" else TESTS[:1]  # scripts/test runs the others on a CPU
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *chosen]
        subprocess.run(words, stdout=sys.stderr, timeout=seconds, check=False)
        cases = [case for suite in ElementTree.parse(report).getroot() for case in suite.iter("testcase")]
    failed = [
        case.attrib["name"] for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    if failed or not cases:
        raise AssertionError(f"{len(failed)} of {len(cases)} tests failed: {', '.join(failed)}")
    return {"passed": len(cases)}


def run_bench(chosen: Config, steps: int) -> dict[str, Any]:
    """Measure one network's training; a store is drawn for it."""
    from kaggle_unet.steps.bench_train import bench_train

    result = bench_train(chosen, Path("store/of/gpu-check"), steps=steps, repeat=3)
    found: dict[str, Any] = json.loads(result.model_dump_json(by_alias=True))
    return found


def run_submit(device: str, data: Path | None) -> dict[str, Any]:
    """Train one drawn epoch, and time `submit` over a test zip."""
    from kaggle_unet.cli import main
    from kaggle_unet.synthetic.files import write_dsb_zip

    def call(*words: object) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                main([str(word) for word in words])
            except SystemExit as end:
                if end.code:
                    raise AssertionError(f"{' '.join(map(str, words))} ended with {end.code}") from end

    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        model, side = (UNET, 128) if device == "cuda" else (TINY, 32)
        words = {"model": model, "side": side, "batch": 4, "preset": "light", "crops": 1, "compile": "false"}
        (home / "config.yaml").write_text(CONFIG.format(**words))
        write_dsb_zip(home / "train.zip", 0, 8)
        if data is None:
            write_dsb_zip(home / "test.zip", 1, 64 if device == "cuda" else 4, with_masks=False, shape=(256, 256))
        run, store = ("--run", home / "run"), ("--store", home / "store")
        call("make-targets", home / "config.yaml", "--data", home / "train.zip", *store)
        call("train", home / "config.yaml", "--fold", "0", *store, *run)
        start = time.perf_counter()
        call("submit", home / "run", "--data", data or home / "test.zip", "-o", home / "out.csv")
        seconds = time.perf_counter() - start
        rows_written = (home / "out.csv").read_text().count("\n") - 1
    return {"data": data.name if data else "drawn, 256²", "seconds": seconds, "csv_rows": rows_written}


def machine(device: str) -> dict[str, Any]:
    """Say where this ran."""
    import segmentation_models_pytorch as smp

    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "device": device,
        "name": name,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "smp": smp.__version__,
        "commit": git.stdout.strip() or "unknown",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def cpu_name() -> str:
    """Name the processor, as Linux does."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def attempt(what: str, work: Callable[[float], dict[str, Any]], until: float) -> dict[str, Any]:
    """Do a part in the time that is left, and return what it found or why it found nothing."""
    left = until - time.monotonic()
    print(f"{what}: {max(left, 0):.0f} s left", file=sys.stderr, flush=True)
    if left < 1:
        return {"error": "not run, the time was up"}
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(int(left))
    try:
        return work(left)
    except KeyboardInterrupt:
        return {"error": "stopped, the time was up"}
    except (Exception, SystemExit) as error:  # noqa: BLE001 the other parts go on
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        signal.alarm(0)


def check(device: str, data: Path | None, minutes: float) -> dict[str, Any]:
    """Run all parts."""
    begin = time.monotonic()
    until = begin + 60 * minutes
    found: dict[str, Any] = {
        "machine": machine(device),
        "tests": attempt("tests", lambda left: run_tests(device, left), until),
    }
    found["submit"] = attempt("submit", lambda _: run_submit(device, data), until)
    found["bench"] = {
        name: attempt(name, lambda _, chosen=chosen, steps=steps: run_bench(chosen, steps), until)
        for name, chosen, steps in rows(device)
    }
    return {**found, "seconds": time.monotonic() - begin}


def main() -> None:
    """Print the JSON, and fail if a part did."""
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--data", type=Path, help="stage1_test.zip of DSB2018; drawn images by default")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--keep", action="store_true", help=f"write {PLACE.name} and {PAGE.name} in docs/")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"scripts/gpu-check: torch {torch.__version__} finds no CUDA device; try --device cpu")
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = check(given.device, given.data, given.minutes)
    print(json.dumps(found, indent=1))
    if given.keep:
        keep(given.device, found)
    parts = {"tests": found["tests"], "submit": found["submit"], **found["bench"]}
    if failed := {name: part["error"] for name, part in parts.items() if "error" in part}:
        sys.exit("\n".join(f"scripts/gpu-check: {name}: {error}" for name, error in failed.items()))


if __name__ == "__main__":
    main()
