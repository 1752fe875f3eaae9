"""``python -m tests.gpu.feed [--keep]``: the crops that workers hand to a GPU, per second of their processor time."""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import cv2
from torch.utils.data import DataLoader, Dataset, Sampler

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.config import load_config
from kaggle_unet.data.augment import PRESETS
from kaggle_unet.data.batch import collate
from kaggle_unet.data.loading import _start_worker
from kaggle_unet.steps.build import build_training_set
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.store import Store
from kaggle_unet.synthetic.files import write_dsb_zip, write_tgs_zip
from tests.gpu.check import UNET, config, cpu_name
from tests.gpu.page import keep

CONFIGS = [f"{data}/{name}" for data in ("dsb2018", "tgs") for name in ("quick", "final", "pretrained")]
SHAPE, SAMPLES, BATCH = (256, 256), 16, 16
SECONDS = 1.0  # of each measurement; the clock of a process ticks every hundredth


class Cases(Dataset):
    """The crops of all cases, so that the same workers serve each in its turn."""

    def __init__(self, cases):
        self.cases = cases

    def __getitem__(self, key):
        name, index = key
        return self.cases[name][1, index % len(self.cases[name])]


class Turn(Sampler):
    """The batches of the case whose turn it is."""

    def use(self, name, n_batches):
        self.keys = [[(name, BATCH * number + index) for index in range(BATCH)] for number in range(n_batches)]

    def __iter__(self):
        return iter(self.keys)


def open_case(chosen):
    """Draw a case's samples, with which its crops are cut; that some would be drawn more often does not matter here."""
    changes = {"sampling": "uniform", "crops_per_epoch": None}
    competition = CompetitionSettings(name=chosen.competition.name)
    augmentation = chosen.augmentation.model_copy(update=changes)
    chosen = chosen.model_copy(update={"augmentation": augmentation, "competition": competition})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "train.zip")
        if competition.name == "tgs":
            write_tgs_zip(data, 0, SAMPLES)
        else:
            write_dsb_zip(data, 0, SAMPLES, shape=SHAPE)
        make_targets(chosen, str(data), Path(folder, "store"))
        store = Store.open(Path(folder, "store"))
        return build_training_set(chosen, store, store.ids).for_device()


def feed(cases, workers):
    """Count the crops that so many workers would hand over in a second of a core each."""
    turn, options = Turn(), {"collate_fn": collate, "multiprocessing_context": "spawn", "persistent_workers": True}
    loader = DataLoader(Cases(cases), batch_sampler=turn, num_workers=workers, worker_init_fn=_start_worker, **options)
    found = {}
    for name, items in cases.items():
        turn.use(name, 2 * workers)  # to warm up
        batches = iter(loader)
        assert sum(len(made.ids) for made in batches) == 2 * workers * BATCH
        turn.use(name, workers * max(2, round(SECONDS / (BATCH * seconds_a_crop(items)))))
        pids = [worker.pid for worker in batches._workers]
        start = sum(map(seconds_of, pids))
        n = sum(len(made.ids) for made in loader)
        found[name] = workers * n / (sum(map(seconds_of, pids)) - start)
        print(name, workers, found[name], file=sys.stderr, flush=True)
    return found


def seconds_of(pid):
    """Read how long a process has used a core, for itself and in the system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def seconds_a_crop(items):
    """Make a few crops in this process."""
    start = time.process_time()
    for index in range(8):
        items[2, index % len(items)]
    return (time.process_time() - start) / 8


def main():
    """Measure configs and presets, and print or keep them."""
    cv2.setNumThreads(1)
    kinds = {
        "configs": {name: load_config(Path("configs") / f"{name}.yaml") for name in CONFIGS},
        "presets": {preset: config(UNET, 256, BATCH, preset=preset) for preset in PRESETS},
    }
    cases = {name: open_case(chosen) for kind in kinds.values() for name, chosen in kind.items()}
    rates = {f"{n} worker{'s' * (n > 1)}": feed(cases, n) for n in (1, 2)}
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": git.stdout.strip(),
        "machine": f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}",
        "load": os.getloadavg()[1],
        "shape": f"{SHAPE[0]} × {SHAPE[1]}",
    }
    for kind, chosen in kinds.items():
        found[kind] = {}
        for name, each in chosen.items():
            side = each.augmentation.crop_px
            about = {"preset": each.augmentation.preset, "crop": f"{side}²" if side else "whole tile"}
            found[kind][name] = about | {n: rate[name] for n, rate in rates.items()}
    print(json.dumps(found, indent=1))
    if "--keep" in sys.argv:
        keep("feed", found)


if __name__ == "__main__":
    main()
