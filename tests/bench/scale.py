"""CPU seconds and peak memory of many tiles, and of a slide in one piece and in shards; each command is a process.

::

    python -m tests.bench.scale FOLDER --tiles 18000 180000
    python -m tests.bench.scale FOLDER --slide 20000 --shards 8
    python -m tests.bench.scale --stages segment FOLDER/run FOLDER/slide.ome.zarr -o FOLDER/whole
"""

import argparse
import hashlib
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from kaggle_unet.cli import main as call
from kaggle_unet.io.slides import create_ome_zarr
from kaggle_unet.steps import slide
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder
from kaggle_unet.synthetic.images import draw_nuclei
from tests.bench.memory import measure
from tests.soak.home import prepare

BLOCK_PX, BLOCK_NUCLEI = 2000, 1000
STARTER = Path(__file__).parents[2] / "configs" / "folder" / "starter.yaml"
TRAINED = "model.filters=8 model.depth=3 training.epochs=3 augmentation.crops_per_epoch=400 inference.flips=none"


def write_tiles(folder: Path, n: int) -> str:
    """Write a zip of many tiles of 32², of which 1,000 are drawn."""
    write_dsb_zip(folder / "few.zip", 7, 1000, with_masks=False, shape=(32, 32))
    with ZipFile(folder / "few.zip") as few, ZipFile(folder / f"{n}.zip", "w") as tiles:
        pictures = [few.read(name) for name in few.namelist()]
        for number in range(n):
            tiles.writestr(f"t{number}/images/t{number}.png", pictures[number % len(pictures)])
    return f"{n}.zip"


def measure_tiles(folder: Path, n: int) -> None:
    """Submit and predict tiles with a tiny network."""
    run, tiles = prepare(folder) / "run", write_tiles(folder, n)
    for words in (f"submit {run} -o {n}.csv", f"predict {run} --planes {n}"):
        show(f"{words.split()[0]}, {n} tiles", [*words.split(), "--data", tiles, *fast("inference.flips=none")], folder)


def fast(settings: str) -> list[str]:
    """Spell overrides."""
    return [word for one in settings.split() for word in ("--set", one)]


def show(name: str, words: list[str], folder: Path) -> None:
    """Run a command and print what it took."""
    begin = time.monotonic()
    peak, cpu_s = measure(words, folder)
    print(f"{name}: {cpu_s:.1f} CPU seconds, {time.monotonic() - begin:.0f} s, {peak:,.0f} MiB", flush=True)


def draw_slide(path: Path, side: int) -> None:
    """Draw a block of nuclei, and fill a slide with its turned and mirrored copies."""
    block, _ = draw_nuclei(np.random.default_rng(3), (BLOCK_PX, BLOCK_PX), n=BLOCK_NUCLEI, debris=300)
    views = [np.rot90(one, turns) for one in (block, block.T) for turns in range(4)]
    (array,) = create_ome_zarr(path, (side, side), "uint8", None)
    rng = np.random.default_rng(4)
    for top in range(0, side, BLOCK_PX):
        chosen = rng.integers(8, size=side // BLOCK_PX)
        array[top : top + BLOCK_PX] = np.concatenate([views[k] for k in chosen], axis=1)


def measure_slide(folder: Path, side: int, n_shards: int) -> None:
    """Segment a slide in one piece and in shards, with a small network, and compare."""
    if not (folder / "run").exists():
        write_folder(folder / "cells", 5, 24, shape=(256, 256))
        measure(["make-targets", str(STARTER), "--data", "cells", "--store", "store"], folder)
        measure(["train", str(STARTER), "--fold", "0", "--store", "store", "--run", "run", *fast(TRAINED)], folder)
    draw_slide(folder / "slide.ome.zarr", side)
    words = ["segment", "run", "slide.ome.zarr", "-o"]
    show("one piece", [*words, "whole"], folder)
    for number in range(1, n_shards + 1):
        show(f"shard {number}", [*words, "sharded", "--shard", f"{number}/{n_shards}"], folder)
    show("the call for the whole", [*words, "sharded"], folder)
    print(*(hash_results(folder / name / "slide") for name in ("whole", "sharded")), sep="\n")


def hash_results(folder: Path) -> str:
    """Hash labels, outlines and measurements."""
    found = hashlib.sha256()
    names = ("labels.ome.zarr", "objects.geojson", "measurements.csv")
    for file in sorted(file for name in names for file in [folder / name, *(folder / name).rglob("*")]):
        found.update(file.read_bytes() if file.is_file() else b"")
    return found.hexdigest()


def show_stages(words: list[str]) -> None:
    """Segment slides in this process, and print what each stage takes."""
    work = slide._Work
    for owner, name in ((work, "predict"), (slide, "decode_large"), (work, "_write_labels"), (work, "_write_tables")):
        setattr(owner, name, _timed(name, getattr(owner, name)))
    call(words)


def _timed(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    def run(*given: Any, **options: Any) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        begin = time.process_time()
        result = stage(*given, **options)
        peak = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(f"{name}: {time.process_time() - begin:.1f} CPU seconds, {int(peak[0]) >> 10:,} MiB", flush=True)
        return result

    return run


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("folder", type=Path, help="where everything is drawn and worked on")
    parser.add_argument("--tiles", type=int, nargs="+", default=[], help="numbers of tiles")
    parser.add_argument("--slide", type=int, help="side of a slide in pixels, a multiple of 2,000")
    parser.add_argument("--shards", type=int, default=8)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for n in arguments.tiles:
        measure_tiles(folder, n)
    if arguments.slide:
        measure_slide(folder, arguments.slide, arguments.shards)


if __name__ == "__main__":
    show_stages(sys.argv[2:]) if sys.argv[1:2] == ["--stages"] else main()
