"""`scripts/peers`: StarDist, Cellpose and InstanSeg beside ours, trained from random weights for the same CPU time.

Every stage is a process of its own, and its time is the CPU time that the system has counted of it and its children,
with imports and targets. The recipes of the others are in `scripts/peers.d`; ours is final.yaml with its epochs cut.
"""

import argparse
import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from kaggle_unet.config import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "stardist" / "final.yaml"
INSIDE = "dsb2018/train"  # of the zip
# What pip installs, and what the thresholds were tuned on. InstanSeg's wheel does not name what its training imports.
PEERS = {
    "stardist": ("stardist tensorflow-cpu", "the 67"),
    "cellpose": ("cellpose<4", "nothing"),
    "instanseg": ("instanseg-torch torchvision seaborn monai edt hyperopt", "the 67"),
}
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
EPOCH = 2200  # crops, of our config
# Its dry run measures steps in CPU time, too, which others on the same core don't stretch.
DRY_RUN = "import time; time.perf_counter = time.process_time; from kaggle_unet.cli.app import main; main()"


def cpu_s(command: list[str], log: Path) -> float:
    """Run a command, with its output added to a log, and return the CPU seconds of it and of its children."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("a") as file:
        code = subprocess.run(
            command, env={**kept, **ONE_THREAD, **QUIET}, stdout=file, stderr=file, check=False
        ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        sys.exit(f"scripts/peers: {' '.join(command[:4])} … ended with {code}; see {log}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def unpack(data: Path, folder: Path) -> None:
    """Write the zip's training images and masks into train/ and validation/, by the folds of the config."""
    lines = CONFIG.with_name("folds.csv").read_text().splitlines()
    folds = {row["id"]: row["fold"] for row in csv.DictReader(lines)}
    with ZipFile(data) as archive:
        for name in map(PurePosixPath, archive.namelist()):
            if name.suffix == ".tif" and name.parents[1] == PurePosixPath(INSIDE):
                target = folder / ("validation" if folds[name.stem] == "0" else "train") / name.parent.name / name.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(str(name)))


def install(name: str, folder: Path) -> tuple[Path, str]:
    """Return the Python of a peer's environment, which is made where it is missing, and the peer's version."""
    packages = PEERS[name][0].split()
    python, distribution = folder / name / "bin" / "python", packages[0].partition("<")[0]
    query = [str(python), "-c", f"from importlib.metadata import version; print(version({distribution!r}))"]
    if not python.exists() or subprocess.run(query, capture_output=True, check=False).returncode:
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    return python, subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def run_peer(name: str, folder: Path, work: Path, seconds: float) -> dict[str, object]:
    """Train, tune and predict by a peer's recipe."""
    python, version = install(name, folder / "environments")
    recipe, stages = ROOT / "scripts" / "peers.d" / f"run_{name}.py", ["train", "tune", "predict"]
    if PEERS[name][1] == "nothing":
        stages.remove("tune")
    spent = {
        f"{stage}_cpu_s": cpu_s(
            [str(python), str(recipe), stage, str(folder / "data"), str(work), str(seconds)], work / "log.txt"
        )
        for stage in stages
    }
    return {"version": version, **spent, **json.loads((work / "seen.json").read_text()), "tuned_on": PEERS[name][1]}


def run_ours(data: Path, folder: Path, work: Path, seconds: float) -> dict[str, object]:
    """Train, tune and predict by final.yaml, its epochs cut to what a dry run says fits."""
    log, ours = work / "log.txt", [sys.executable, "-m", "kaggle_unet", "-q"]
    kept = ["--store", str(work / "store"), "--run", str(work / "run")]
    targets_s = cpu_s([*ours, "make-targets", str(CONFIG), "--data", f"{data}:{INSIDE}", *kept[:2]], log)

    def train(epochs: int, crops: int) -> list[str]:
        changed = (f"training.epochs={epochs}", f"augmentation.crops_per_epoch={crops}", "inference.flips=none")
        return ["train", str(CONFIG), "--fold", "0", *kept, *(word for one in changed for word in ("--set", one))]

    dry = work / "dry_run.json"
    start_s = cpu_s([sys.executable, "-c", DRY_RUN, *train(1, EPOCH), "--dry-run", "--json", "-q"], dry)
    estimate = json.loads(dry.read_text())["estimates"][0]
    crops_per_s = float(re.findall(r"([\d.]+) images/s", estimate["measured"])[0])
    end_s = 60 * estimate["minutes"] - EPOCH / crops_per_s  # a validation and a prediction
    n_crops = (seconds - targets_s - start_s - end_s) * crops_per_s
    epochs = max(1, round(n_crops / EPOCH))
    crops = max(8, int(n_crops / epochs))
    train_s = targets_s + cpu_s([*ours, *train(epochs, crops)], log)
    tune_s = cpu_s([*ours, "tune", str(work / "run")], log)
    images = folder / "data" / "validation" / "images"
    predict_s = cpu_s(
        [*ours, "segment", str(work / "run"), str(images), "-o", str(work), "--set", "inference.flips=d4"], log
    )
    n_steps = epochs * -(-crops // load_config(CONFIG).training.batch)
    seen = {"crops": epochs * crops, "steps": n_steps, "side_px": 128, "tuned_on": "the 67"}
    return {"train_cpu_s": train_s, "tune_cpu_s": tune_s, "predict_cpu_s": predict_s, **seen}


def score(labels: Path, truth: Path) -> dict[str, object]:
    """Score label images as `kaggle-unet score` does: the mean over images of each threshold's, and of all ten."""
    command = [sys.executable, "-m", "kaggle_unet", "score", str(labels), "--truth", str(truth), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {
        "score": found["score"],
        "ap": {f"{row['threshold_iou']:g}": row["ap_per_image"] for row in found["per_iou"]},
    }


def render(rows: list[dict]) -> str:
    """Write a row per library."""
    heads = (
        "library",
        "training, CPU s",
        "steps",
        "crops",
        "score",
        "AP@0.5",
        "0.75",
        "0.9",
        "tuned on",
        "prediction, CPU s",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        figures = (row["score"], *(row["ap"][threshold] for threshold in ("0.5", "0.75", "0.9")))
        words = (
            f"{row['peer']} {row['version']}",
            f"{row['train_cpu_s']:,.0f}",
            f"{row['steps']:,}",
            f"{row['crops']:,} × {row['side_px']}²",
            *(f"{one:.3f}" for one in figures),
            row["tuned_on"],
            f"{row['predict_cpu_s']:,.0f}",
        )
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/peers", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="stardist_subset.zip")
    parser.add_argument("--minutes", type=float, required=True, help="the CPU minutes of each training, say 10 or 30")
    parser.add_argument("--only", choices=["ours", *PEERS], action="append", help="one of them; repeatable")
    cache = Path.home() / ".cache" / "kaggle-unet" / "peers"
    parser.add_argument(
        "--folder", type=Path, default=cache, help=f"where environments and results are kept (default: {cache})"
    )
    parser.add_argument("--json", type=Path, help="also write the rows here")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    folder, results, rows = asked.folder.absolute(), asked.folder.absolute() / f"{asked.minutes:g}_minutes", []
    unpack(asked.data, folder / "data")
    for name in ("ours", *PEERS):
        done, work = results / f"{name}.json", results / name
        if not done.exists() and name in (asked.only or ("ours", *PEERS)):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            if name == "ours":
                row = {"version": "final.yaml", **run_ours(asked.data.absolute(), folder, work, 60 * asked.minutes)}
            else:
                row = run_peer(name, folder, work, 60 * asked.minutes)
            row |= {
                "peer": name,
                "minutes": asked.minutes,
                **score(work / "labels", folder / "data" / "validation" / "masks"),
            }
            done.write_text(json.dumps(row, indent=1) + "\n")
            print(row, file=sys.stderr, flush=True)
        if done.exists():
            rows.append(json.loads(done.read_text()))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(render(rows))


if __name__ == "__main__":
    main()
