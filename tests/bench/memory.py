"""`scripts/memory`: the peak memory of each verb, by the size and number of drawn images, as a table.

Each verb is a process of its own on one core, with the starter's network and default settings; epochs and flips, which
take time alone, are few. The peak is what the system has counted of the process (`ru_maxrss`).
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from kaggle_unet.synthetic.files import write_folder

SETS = ((256, 25), (256, 100), (1024, 4), (1024, 16), (2560, 2))  # side in pixels, and number of images
FAST = ["folds.n=2", "training.epochs=1", "augmentation.crops_per_epoch=32", "inference.flips=none"]
VERBS = {
    "make-targets": "make-targets config.yaml --data data --store store",
    "train": "train config.yaml --fold all --store store --run run",
    "score": "score run",
    "tune": "tune run --trials 5",
    "second-level": "second-level run",
    "report": "report run -o report.html",
    "predict --data": "predict run --data data --planes planes",
    "submit": "submit run --data data -o a.csv",
    "check": "check a.csv --data data --competition folder",
    "vote": "vote run --csv a.csv --csv b.csv --data data -o vote.csv",
    "segment": "segment run data/images -o segmented",
    "pseudo-label": "pseudo-label run --data data --store pseudo --confidence 0",
    "convert": "convert data labels.json --to coco",
    "export": "export run -o model.onnx",
}


# A process counts the memory of the one that started it, until it runs its own program: a small one stands between.
STARTER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss / 2**10, used.ru_utime + used.ru_stime)
sys.exit(code)
"""


def measure(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a verb in a folder, and return its peak in MiB and its CPU seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    verb = [sys.executable, "-m", "kaggle_unet", "-q", *words]
    command = [sys.executable, "-S", "-c", STARTER, *verb]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(words)} ended with {done.returncode}"
        raise RuntimeError(msg)
    peak, cpu_s = map(float, done.stdout.split())
    return peak, cpu_s


def measure_set(folder: Path, side: int, n: int, verbs: dict[str, str] = VERBS) -> dict[str, float]:
    """Draw a set of images, and return the peak of each verb on it."""
    write_folder(folder / "data", 1, n, shape=(side, side))
    starter = Path(__file__).parents[2] / "configs" / "folder" / "starter.yaml"
    (folder / "config.yaml").write_text(starter.read_text())
    peaks: dict[str, float] = {}
    for verb, words in verbs.items():
        more = [word for pair in FAST for word in ("--set", pair)] if "config.yaml" in words else []
        peaks[verb], _ = measure([*words.split(), *more], folder)
        if verb == "submit":
            (folder / "b.csv").write_bytes((folder / "a.csv").read_bytes())
    return peaks


def render(found: dict[tuple[int, int], dict[str, float]]) -> str:
    """Write a row per verb and a column per set."""
    heads = [f"{n} × {side}²" for side, n in found]
    lines = [f"| verb | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    verbs = next(iter(found.values()))
    return "\n".join(
        [*lines, *(f"| {verb} | {' | '.join(f'{one[verb]:,.0f}' for one in found.values())} |" for verb in verbs)]
    )


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/memory", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the sets are drawn and worked on")
    folder = parser.parse_args().folder.absolute()
    measure_set(folder / "warm", 64, 4, dict([*VERBS.items()][:2]))  # compiles the kernels
    found = {}
    for side, n in SETS:
        found[side, n] = measure_set(folder / f"{side}-{n}", side, n)
        print(f"{n} × {side}²: {found[side, n]}", file=sys.stderr, flush=True)
    print(render(found))


if __name__ == "__main__":
    main()
