"""The golden set: five small drawn experiments taken from zip to CSV, and a comparison of two such folders.

Run by `scripts/golden`. Bytes depend on the processor, the thread count and the versions of torch and OpenCV, so two
commits are compared in one environment; what has moved on purpose is written down in `docs/golden.md`.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

NUCLEI = """\
competition: {{name: dsb2018}}
codec: {{name: {codec}, border: {{rule: touching, radius_px: 2}}}}
weights: {{classes: {{{heavy}: 3}}, distance: {{w0: 4, sigma_px: 3}}, size: {{gamma: 0.5}}}}
folds: {{n: 2, group: none}}
model: {{name: plain_unet, filters: 8, depth: 3}}
augmentation: {{preset: nuclei, crop_px: 64, crops_per_image: 4}}
training:
  epochs: 3
  batch: 8
  monitor: score
  optimizer: {{name: adamw, learning_rate: 4e-3}}
inference: {{flips: d4}}
decode: {{border_threshold: 0.3, min_seed_px: 3}}
postprocess: {{fill_holes_px: 50, min_area_px: 16}}
"""
SALT = """\
competition: {name: tgs}
codec: {name: mask}
folds: {n: 2, stratify: coverage}
input: {channels: [gray, ramp], normalize: range}
model: {name: plain_unet, filters: 8, depth: 4}
augmentation: {preset: salt}
training:
  epochs: 3
  batch: 8
  monitor: score
  optimizer: {name: adamw, learning_rate: 4e-3}
inference: {flips: horizontal}
decode: {single_object: true}
"""
CODECS = ("mask", "mask_border", "interior_border", "interior_border_background")
CONFIGS = {
    **{codec: NUCLEI.format(codec=codec, heavy="mask" if codec == "mask" else "border") for codec in CODECS},
    "salt": SALT,
}


def make(folder: Path) -> None:
    """Take every experiment from its drawn zip to its CSV with the verbs of the command line."""
    from kaggle_unet.synthetic.files import write_dsb_zip, write_tgs_zip

    for name, config in CONFIGS.items():
        home = folder / name
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.yaml").write_text(config)
        draw = write_tgs_zip if name == "salt" else write_dsb_zip
        draw(home / "train.zip", 1, 24)
        draw(home / "test.zip", 2, 6, with_masks=False)
        places = ["--store", home / "store"]
        _call("make-targets", home / "config.yaml", "--data", home / "train.zip", *places)
        for fold in (0, 1):
            _call("train", home / "config.yaml", "--fold", fold, *places, "--run", home / "run")
        checkpoints = [word for fold in (0, 1) for word in ("--checkpoint", home / "run" / f"fold{fold}")]
        test = ["--data", home / "test.zip", *checkpoints]
        _call("submit", home / "config.yaml", *test, "-o", home / "plain.csv")
        _call("predict", home / "config.yaml", *test, "--planes", home / "planes")
        _call("tune", home / "config.yaml", "--run", home / "run", "--trials", 25)
        _call("submit", home / "config.yaml", *test, "-o", home / "tuned.csv")
        scores = _call("score", "--run", home / "run", "--json")
        (home / "scores.json").write_text(scores)


def _call(*words: object) -> str:
    command = [sys.executable, "-m", "kaggle_unet", "-q", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def describe(folder: Path) -> dict[str, str]:
    """Give a hash for everything that must stay: zips, CSVs, scores, decoding, targets and planes."""
    found = {}
    for name in CONFIGS:
        home = folder / name
        for file in ("train.zip", "test.zip", "plain.csv", "tuned.csv"):
            found[f"{name}/{file}"] = _hash((home / file).read_bytes())
        scores = (home / "scores.json").read_bytes().replace(bytes(folder), b"FOLDER")  # it says where decode.yaml lies
        found[f"{name}/scores.json"] = _hash(scores)
        decode = yaml.safe_load((home / "run/decode.yaml").read_text())
        decode.pop("checkpoints", None)  # hashes of the files, whose format may change
        for key in ("codec", "views"):  # which earlier versions did not record
            decode.pop(key, None)
        found[f"{name}/run/decode.yaml"] = _hash(json.dumps(decode, sort_keys=True).encode())
        found[f"{name}/targets"] = _hash_targets(home / "store")
        for planes in (home / "planes", home / "run/fold0/planes", home / "run/fold1/planes"):
            found[f"{name}/{planes.relative_to(home)}"] = _hash_arrays(sorted(planes.glob("*.npz")), ("planes",))
    return found


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_targets(store: Path) -> str:
    """Hash planes and weights, these as half precision, which stores of before held."""
    return _hash_arrays(sorted(store.glob("**/targets/**/*.npz")), ("planes", "shape", "weights"))


def _hash_arrays(files: list[Path], names: tuple[str, ...]) -> str:
    assert files, "there are arrays to compare"
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode())
        with np.load(file) as arrays:
            for name in names:
                array = np.ascontiguousarray(arrays[name]) if name in arrays else np.zeros(0)
                total.update((array.astype(np.float16) if name == "weights" else array).tobytes())
    return total.hexdigest()


def main() -> None:
    """Make a golden folder, or compare two."""
    parser = argparse.ArgumentParser(prog="scripts/golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the experiments are made")
    parser.add_argument("--against", type=Path, help="another such folder; what differs is listed, and the exit is 1")
    arguments = parser.parse_args()
    if not (arguments.folder / "golden.json").exists():
        make(arguments.folder)
        (arguments.folder / "golden.json").write_text(json.dumps(describe(arguments.folder), indent=1) + "\n")
    found = json.loads((arguments.folder / "golden.json").read_text())
    if arguments.against is None:
        print(json.dumps(found, indent=1))
        return
    wanted = json.loads((arguments.against / "golden.json").read_text())
    differing = [key for key in wanted if wanted[key] != found.get(key)]
    print(f"{len(wanted) - len(differing)} of {len(wanted)} are equal", *map("differs: {}".format, differing), sep="\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
