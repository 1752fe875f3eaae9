"""Files that mean harm: nothing that is read runs code, writes outside the named folders, or takes the machine."""

import csv
import io
import json
import os
import pickle
import random
import resource
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from kaggle_unet.store.atomic import sha256
from tests.files import png, zipped
from tests.soak.fuzz import LIMIT_BYTES
from tests.soak.home import call, prepare
from tests.soak.kills import RUN, TEST, fresh, in_folder, scratch
from tests.soak.row import Plan, Row

PROMISE = "no code runs, nothing outside is touched, refused within 10 s and 2 GiB or read as plain data"
LIMIT_S = 10
MAKE = ("make-targets", "made/config.yaml", "--store", "out/store", "--data")
Attack = Callable[[Path, Path], tuple[str, ...]]  # from the work folder and a canary to the words of a command


class _Bomb:
    """What removes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.unlink, (str(self.canary),)


def planes_elsewhere(work: Path, canary: Path) -> tuple[str, ...]:
    """Have planes.json name a file outside its folder."""
    about = work / RUN / "fold0" / "planes" / "planes.json"
    tree = json.loads(about.read_text())
    tree.pop("sha256", None)
    about.write_text(json.dumps({**tree, "ids": [os.path.relpath(canary.with_suffix(""), about.parent)]}))
    return "predict", RUN, "--oof"


def linked_lock(work: Path, canary: Path) -> tuple[str, ...]:
    """Put a link where the lock is."""
    (work / "out" / "store").mkdir(parents=True)
    (work / "out" / "store" / ".lock").symlink_to(canary)
    return *MAKE, "made/train.zip"


def linked_planes(work: Path, canary: Path) -> tuple[str, ...]:
    """Put a link where planes are written."""
    planes = work / RUN / "fold0" / "planes"
    shutil.rmtree(planes)
    planes.symlink_to(canary.parent, target_is_directory=True)
    return "predict", RUN, "--oof"


def yaml_tag(work: Path, canary: Path) -> tuple[str, ...]:
    """Have a config build an object."""
    (work / "made" / "config.yaml").write_text(f"competition: !!python/object/apply:os.unlink [{canary}]\n")
    return *MAKE, "made/train.zip"


def yaml_aliases(work: Path, canary: Path) -> tuple[str, ...]:
    """Have a config of a few lines stand for billions of values."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 11))]
    (work / "made" / "config.yaml").write_text("\n".join(lines))
    return *MAKE, "made/train.zip"


def deep_yaml(work: Path, canary: Path) -> tuple[str, ...]:
    """Nest a config thousands of levels deep."""
    (work / "made" / "config.yaml").write_text("a: " + "[" * 5000)
    return *MAKE, "made/train.zip"


def foreign_code(work: Path, canary: Path) -> tuple[str, ...]:
    """Have a config name code beside it as its network."""
    (work / "evil.py").write_text(f"import os\nos.unlink({str(canary)!r})\n")
    config = work / "made" / "config.yaml"
    config.write_text(config.read_text().replace("name: plain_unet, filters: 4, depth: 2", "name: 'python:evil:make'"))
    return "train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run"


def pickled_checkpoint(work: Path, canary: Path) -> tuple[str, ...]:
    """Give a pickle as a checkpoint."""
    (work / "best.pt").write_bytes(pickle.dumps(_Bomb(canary)))
    return "submit", "made/config.yaml", "--checkpoint", "best.pt", "--data", TEST, "-o", "out/x.csv"


def pickled_planes(work: Path, canary: Path) -> tuple[str, ...]:
    """Have planes hold a pickled object."""
    array = np.empty(1, object)
    array[0] = _Bomb(canary)
    for file in (work / RUN).glob("fold*/planes/*.npz"):
        buffer = io.BytesIO()
        np.savez(buffer, planes=array)
        file.write_bytes(buffer.getvalue())
    return "score", RUN


def pickled_samples(work: Path, canary: Path) -> tuple[str, ...]:
    """Have a store's samples hold a pickled object."""
    array = np.empty(1, object)
    array[0] = _Bomb(canary)
    for file in (work / "made/store/samples").glob("*.npz"):
        buffer = io.BytesIO()
        np.savez(buffer, image=array, about=array)
        file.write_bytes(buffer.getvalue())
    return "train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run"


def pickled_weights(work: Path, canary: Path) -> tuple[str, ...]:
    """Give a pickle as weights to begin with."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w/data.pkl", pickle.dumps(_Bomb(canary), protocol=2))
        archive.writestr("w/version", "3\n")
    (work / "w.pth").write_bytes(buffer.getvalue())
    model = "model={name: ternausnet, encoder_weights: w.pth}"
    return "train", "made/config.yaml", "--fold", "0", "--store", "made/store", "--run", "out/run", "--set", model


def huge_checkpoint(work: Path, canary: Path) -> tuple[str, ...]:
    """Have a checkpoint say that its network is enormous."""
    file = work / RUN / "fold0" / "best.safetensors"
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].replace(b'\\"filters\\": 4', b'\\"filters\\": 8000').rstrip()
    header += b" " * (-len(header) % 8)
    file.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    file.with_name(f"{file.name}.sha256").write_text(f"{sha256(file)}  {file.name}\n")
    return "submit", "made/config.yaml", "--checkpoint", f"{RUN}/fold0", "--data", TEST, "-o", "out/x.csv"


def zip_slip(work: Path, canary: Path) -> tuple[str, ...]:
    """Name a file of a zip so that it lies outside."""
    (work / "x.zip").write_bytes(zipped({os.path.relpath(canary, work): b"overwritten", "a/images/a.png": b""}))
    return *MAKE, "x.zip"


def zip_link(work: Path, canary: Path) -> tuple[str, ...]:
    """Put a link into a zip."""
    with zipfile.ZipFile(work / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a/images/a.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(canary))
    return *MAKE, "x.zip"


def zip_bomb(work: Path, canary: Path) -> tuple[str, ...]:
    """Pack gigabytes of zeros into megabytes."""
    with (
        zipfile.ZipFile(work / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/images/a.png", "w") as file,
    ):
        for _ in range(3 * 2**6):
            file.write(bytes(2**23))
    return *MAKE, "x.zip"


def nested_bomb(work: Path, canary: Path) -> tuple[str, ...]:
    """Pack a bomb into a zip in a zip."""
    inner = zipped({f"{n}/images/{n}.png": bytes(2**28) for n in range(2)})
    (work / "x.zip").write_bytes(zipped({"stage1_train.zip": zipped({"in.zip": inner})}))
    return *MAKE, "x.zip:stage1_train.zip"


def png_bomb(work: Path, canary: Path) -> tuple[str, ...]:
    """Give a PNG of a megabyte that is 13,000 pixels wide and high, of 64 bits each."""
    side = 13_000

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + 8 * side)) for _ in range(side)) + packer.flush()
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
    data += chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (work / "x.zip").write_bytes(zipped({"a/images/a.png": data, "a/masks/b.png": png(np.ones((4, 4), bool))}))
    return *MAKE, "x.zip"


def escapes(work: Path, canary: Path) -> tuple[str, ...]:
    """Put the terminal's commands into the names of files."""
    folder = work / "x" / "images"
    folder.mkdir(parents=True)
    (folder / "\x1b]0;owned\x07\x1b[31mevil.png").write_bytes(b"no image")
    return "segment", RUN, "x/images", "-o", "out"


def markup(work: Path, canary: Path) -> tuple[str, ...]:
    """Put markup into the names of images that a page shows."""
    for kind in ("images", "masks"):
        for number, file in enumerate(sorted((work / "made" / "folder" / kind).iterdir())):
            file.rename(file.with_name(f"<img src=x onerror=alert({number})>.png"))
    return "convert", "made/folder", "out/x.json", "--to", "coco"


def long_name(work: Path, canary: Path) -> tuple[str, ...]:
    """Name an image by 300 letters, inside a zip."""
    (work / "x.zip").write_bytes(zipped({f"{'a' * 300}.png": png(np.zeros((9, 9), np.uint8))}))
    return "segment", RUN, "x.zip", "-o", "out"


def huge_csv_ids(work: Path, canary: Path) -> tuple[str, ...]:
    """Give a submission of ids that are paths, formulas and 100,000 letters."""
    text = io.StringIO()
    rows = [["ImageId", "EncodedPixels"], ["../../x", "1 1"], ["=cmd()", "1 1"], ["a" * 100_000, "9" * 100_000]]
    csv.writer(text).writerows(rows)
    (work / "x.csv").write_text(text.getvalue())
    return "check", "x.csv", "--data", TEST, "--competition", "dsb2018"


ATTACKS: dict[str, Attack] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        planes_elsewhere, linked_lock, linked_planes, yaml_tag, yaml_aliases, deep_yaml, foreign_code,
        pickled_checkpoint, pickled_planes, pickled_samples, pickled_weights, huge_checkpoint, zip_slip, zip_link,
        zip_bomb, nested_bomb, png_bomb, escapes, markup, long_name, huge_csv_ids,
    )
}  # fmt: skip


QUICK = ("linked lock", "yaml tag", "yaml aliases", "zip slip", "huge csv ids")


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per attack."""
    for name in QUICK if plan.quick else ATTACKS:
        yield name, partial(attack, name, plan)


def attack(name: str, plan: Plan) -> Row:
    """Try an attack, and see what has become of a file that lies outside."""
    row, made = Row("attacks", name, PROMISE), prepare(plan.home)
    with scratch(plan) as work:
        fresh(made, work)
        canary = plan.home / "outside" / f"{random.Random(plan.seed).random()}.npz"
        canary.parent.mkdir(exist_ok=True)
        canary.write_text("whole")
        words = ATTACKS[name](work, canary)
        end = call(in_folder(list(words)), before=lambda: (os.chdir(work), _limit()), limit_s=60)
        outcome, said = end.verdict()
        around = sorted(path.name for path in canary.parent.iterdir())
        if (
            not canary.exists()
            or canary.read_text() != "whole"
            or around != [canary.name]
            or "\x1b]0;" in end.err + end.out
        ):
            outcome = "outside"
        elif outcome in {"done", "refused"} and end.code == 4 and "memory" in end.err:
            outcome = "memory"
        elif outcome == "refused" and end.seconds > LIMIT_S:
            outcome = "hang"
        row.add(outcome, f"{end.seconds:.1f} s, {said}")
        shutil.rmtree(canary.parent)
    return row


def _limit() -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, resource.RLIM_INFINITY))
