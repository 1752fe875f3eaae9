"""Folders and zips of random layouts with known truth: every sample is read right, or what is wrong with it is named.

`python -m tests.layouts 1000` tries so many; the suite tries a few.
"""

import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError
from tests.files import encode, png, tiff, write_folder, write_zip

NAMES = ["a", "b2", "Zähl 3", "c.d", "IMG-4", "été", "x_y"]
WRITERS = {
    "png": png, "bmp": lambda pixels: encode(pixels, "BMP"), "gif": lambda pixels: encode(pixels, "GIF"),
    "webp": lambda pixels: encode(pixels, "WEBP", lossless=True), "tif": tiff,
    "TIFF": lambda pixels: tiff(pixels, compression="lzw", tile=(16, 16)),
}  # fmt: skip


def draw(rng):
    image = rng.integers(0, 256, (16, 16), np.uint8)
    labels = np.zeros((16, 16), np.uint8)
    labels[1:6, 2:6], labels[8:12, 8:13] = 1, 2
    return image, labels


def layout(rng):
    """Draw a set: its competition, files, the truth by id, the ids with a fault, and other files to be named."""
    is_dsb = bool(rng.random() < 0.4)
    files, truth, faulty, others = {}, {}, {}, []
    for name in rng.choice(NAMES, rng.integers(2, 6), replace=False).tolist():
        image, labels = truth[name] = draw(rng)
        suffix = str(rng.choice(list(WRITERS)))
        shown = unicodedata.normalize(str(rng.choice(["NFC", "NFD"])), name)
        paths = [f"images/{name}.{suffix}", f"masks/{shown}.png"]
        masks = [labels]
        if is_dsb:
            paths = [f"{name}/images/{name}.{suffix}", f"{name}/masks/1.png", f"{name}/masks/2.png"]
            masks = [labels == 1, labels == 2]
        files |= dict(zip(paths, [WRITERS[suffix](image), *map(png, masks)], strict=True))
        files, fault = disturb(rng, files, paths)
        faulty |= {name: fault} if fault else {}
    for other in ("notes.txt", "a.png.bak", ".DS_Store", "Thumbs.db"):
        if rng.random() < 0.3:
            others.append(f"{next(iter(truth))}/masks/{other}" if is_dsb else f"images/{other}")
    files |= {name: b"a text" if name.endswith("txt") else png(image) for name in others}
    named = [name for name in others if name[-3:] in {"txt", "bak"}]
    return "dsb2018" if is_dsb else "folder", files, truth, faulty, named


def disturb(rng, files, paths):
    """Spoil one of a sample's files, or none, and return its name as an error must say it."""
    kind, path = int(rng.integers(16)), str(rng.choice(paths))
    data, folder, name = files[path], path.rpartition("/")[0], path.rpartition("/")[2]
    others = {key: value for key, value in files.items() if key != path}
    stem = name.rpartition(".")[0]
    moved = {1: f"{folder}/more/{name}", 2: f"{folder}/{stem}.czi", 3: f"{folder}/{stem}", 4: f"{folder}/{stem}.npy"}
    if kind in moved:
        return {**others, moved[kind]: data}, moved[kind]
    if kind == 5:
        return {**files, path: data[: len(data) // 2]}, path
    if kind == 6:
        return {**files, f"{folder}/{stem}.jp2": data}, f"{folder}/{stem}.jp2"
    if kind == 7 and path == paths[0]:
        return {
            **files,
            path: tiff(np.zeros((3, 16, 16), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"}),
        }, path
    return files, ""


def check(seed):
    """Return what is wrong with how a drawn layout is read; empty if nothing is."""
    rng = np.random.default_rng(seed)
    competition, files, truth, faulty, others = layout(rng)
    with tempfile.TemporaryDirectory() as home:
        write = write_zip if rng.random() < 0.5 else write_folder
        top = str(rng.choice(["", "set/"]))
        data = write(Path(home) / ("s.zip" if write is write_zip else "s"), {top + key: d for key, d in files.items()})
        settings = CompetitionSettings(name=competition)
        said, found = "", {}
        for skip_bad in (False, True):
            try:
                source = get_competition(competition).read(data, settings, with_masks=True, skip_bad=skip_bad)
            except DataError as error:
                said += f"{error} {error.problems}"
                continue
            said += " ".join(f"{issue.sample} {issue.kind}" for issue in source.data_issues)
            for id_ in source.ids:
                try:
                    found[id_] = source.load(id_)
                except DataError as error:
                    said += f"{error} {error.problems}"
    said, faults = unicodedata.normalize("NFC", said), []
    for id_, (image, labels) in truth.items():
        name = unicodedata.normalize("NFC", faulty.get(id_, ""))
        if name and name not in said:
            faults.append(f"{name} is not named")
        if name and id_ in found:
            faults.append(f"{id_} is read, though {name} is faulty")
        if not name and not (
            id_ in found and (found[id_].image == image).all() and (found[id_].labels == labels).all()
        ):
            faults.append(f"{id_} is sound and not read right")
    return [*faults, *(f"{name} is not noted" for name in others if name not in said and found)]


if __name__ == "__main__":
    bad = {seed: faults for seed in range(int(sys.argv[1])) if (faults := check(seed))}
    for seed, faults in bad.items():
        print(seed, *faults, sep="; ")
    print(f"{sys.argv[1]} layouts, {len(bad)} of them read wrong without a word")
    sys.exit(bool(bad))
