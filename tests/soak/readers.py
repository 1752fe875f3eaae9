"""The readers that damaged bytes are given to, each with sound files, and with what a value must be to be believed."""

import csv
import io
import json
import random
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from kaggle_unet.competitions.label_files import LABEL_FORMATS
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import check_submission
from kaggle_unet.config import parse_config, to_yaml
from kaggle_unet.io.annotation_formats import decode_coco, parse_json, read_coco, read_geojson, read_rois
from kaggle_unet.io.archive import ZipArchive
from kaggle_unet.io.images import decode_image, decode_mask, encode_png, read_shape
from kaggle_unet.io.label_images import read_values
from kaggle_unet.io.tables import read_table
from kaggle_unet.io.tiff import read_pixel_size
from kaggle_unet.masks.rle import decode, encode
from kaggle_unet.models.checkpoint import load_checkpoint, read_tensors
from kaggle_unet.steps.build import load_ensemble
from kaggle_unet.steps.run import choose_decode_params, describe_run, run_folds
from kaggle_unet.store.atomic import sha256
from kaggle_unet.store.manifest import hash_plain, read_record
from kaggle_unet.store.planes import read_planes
from kaggle_unet.store.store import Store, TargetSet
from kaggle_unet.synthetic.images import draw_nuclei
from tests import naive
from tests.files import encode as encode_picture
from tests.files import png, tiff, zipped
from tests.soak.damage import damage, damage_zip, repair_png

SHAPE = (24, 32)
Damage = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
Check = Callable[[bytes, Any], str]


@dataclass(frozen=True)
class Reader:
    """A reader, sound inputs, and its laws.

    `has_checksum` promises that a damaged file gives the sound one's value or none; `deep` damages what lies beneath
    the checksum; `check` says what is wrong with a value.
    """

    seeds: Sequence[bytes]
    read: Callable[[bytes], Any]
    check: Check
    has_checksum: bool = False
    deep: Damage | None = None


def _believe(data: bytes, value: Any) -> str:
    return ""


def _says(condition: bool, fault: str) -> str:
    return "" if condition else fault


def images() -> tuple[np.ndarray, np.ndarray]:
    """Draw an image and its labels."""
    return draw_nuclei(np.random.default_rng(5), SHAPE, n=5)


def _gray_types() -> list[np.ndarray]:
    image, labels = images()
    colours = np.dstack([image, image[::-1], labels.astype(np.uint8)])
    return [image, image.astype(np.uint16) * 257, colours, colours.astype(np.uint16) * 200, labels > 0]


def _check_image(data: bytes, image: np.ndarray) -> str:
    height, width = read_shape(io.BytesIO(data), "x")
    if image.shape[:2] != (height, width):
        return f"{image.shape} of a header that says {height} x {width}"
    return _says(
        image.dtype.name in {"uint8", "uint16", "float32"} and bool(np.isfinite(image).all()), str(image.dtype)
    )


def _check_png(data: bytes, image: np.ndarray) -> str:
    """Unpack the pixels once more: damaged ones may not have been read."""
    packed, start = b"", 8
    while start + 12 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == b"IDAT":
            packed += data[start + 8 : start + 8 + size]
        if data[start + 4 : start + 8] == b"IEND":
            break
        start += size + 12
    try:
        n_bytes = len(zlib.decompressobj(-15).decompress(packed[2:]))  # the sum at its end may be wrong
    except zlib.error as error:
        return f"pixels of a PNG that zlib refuses: {error}"
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    bits = data[24] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[data[25]]
    needed = height * (1 + -(-width * bits // 8))
    return _says(data[28] != 0 or n_bytes >= needed, f"{n_bytes} bytes of {needed} were read") or _check_image(
        data, image
    )


def png_images(home: Path) -> Reader:
    """PNGs to images."""
    palette = encode_picture(images()[0], "PNG", "P")
    seeds = [*map(encode_png, _gray_types()), palette, png(images()[0], "LA"), png(images()[0], "1")]
    deep = lambda data, rng, others: repair_png(damage(data, rng, others))  # noqa: E731
    return Reader(seeds, lambda data: decode_image(data, "x.png")[0], _check_png, has_checksum=True, deep=deep)


def tiff_images(home: Path) -> Reader:
    """TIFFs to images."""
    gray, deep, colours, deep_colours, mask = _gray_types()
    seeds = [tiff(gray), tiff(deep, compression="zlib"), tiff(colours, photometric="rgb"), tiff(gray / np.float32(3))]
    seeds += [tiff(deep_colours, photometric="rgb", tile=(16, 16)), encode_picture(mask, "TIFF")]
    seeds += [encode_picture(gray, "TIFF", compression="tiff_lzw"), tiff(gray, metadata={"axes": "YX"}, ome=True)]
    return Reader(seeds, lambda data: decode_image(data, "x.tif")[0], _check_image)


def other_images(home: Path) -> Reader:
    """JPEG, BMP, GIF and WebP to images."""
    gray, _, colours, _, _ = _gray_types()
    seeds = [encode_picture(pixels, kind) for kind in ("JPEG", "BMP", "GIF") for pixels in (gray, colours)]
    seeds.append(encode_picture(colours, "WEBP", lossless=True))
    return Reader(seeds, lambda data: decode_image(data, "x.jpg")[0], _check_image)


def masks(home: Path) -> Reader:
    """Binary masks."""
    labels = images()[1]
    seeds = [png(labels == n) for n in (1, 2)] + [png((labels == 3).astype(np.uint8) * 255), png(labels > 0, "RGBA")]
    read = lambda data: decode_mask(data, "x.png")[0]  # noqa: E731
    deep = lambda data, rng, others: repair_png(damage(data, rng, others))  # noqa: E731
    return Reader(seeds, read, lambda data, mask: _check_png(data, mask.astype(np.uint8)), has_checksum=True, deep=deep)


def label_images(home: Path) -> Reader:
    """Label images to numbers."""
    labels = images()[1]
    seeds = [
        png(labels.astype(np.uint8)),
        png(labels.astype(np.uint16)),
        tiff(labels),
        tiff(labels, compression="zlib"),
    ]

    def check(data: bytes, values: np.ndarray) -> str:
        return _says(values.dtype.kind in "iu" and values.min(initial=0) >= 0, f"{values.dtype} from {values.min()}")

    return Reader(seeds, lambda data: read_values(data, "x.png")[0], check)


def archives(home: Path) -> Reader:
    """Zips, and zips in zips: what is read is what was packed, or nothing is; verbs refuse a zip without files."""
    inner = {"images/a.png": png(images()[0]), "images/b.png": b"b" * 200, "x.csv": b"id,rle\n"}
    outer = {"in.zip": zipped(inner), "readme.txt": b"r" * 50}
    path, contents = home / "x.zip", {**inner, **outer}

    def read(data: bytes) -> dict[str, bytes]:
        path.write_bytes(data)
        archive = ZipArchive(path)
        found = {name: archive.read(name) for name in archive.names}
        for name in (name for name in archive.names if name.endswith(".zip")):
            within = archive.open_zip(name)
            found |= {name: within.read(name) for name in within.names}
        return found

    def check(data: bytes, found: Mapping[str, bytes]) -> str:
        foreign = [name for name, content in found.items() if contents.get(name) != content]
        lacks = [sorted(names - found.keys()) for names in map(set, (inner, contents))]
        return _says(
            not found or (not foreign and [] in lacks), f"{foreign} are not what was packed, {lacks} are missing"
        )

    return Reader([zipped(inner), zipped(outer)], read, check)


def tables(home: Path) -> Reader:
    """CSVs, read as Python's csv module reads them."""
    seeds = [b"id,z\na,1\nb,2\n", b'id,"x,y"\r\n"a\nb",2\r\n', "\ufeffid,ü\na,b\n".encode(), b"id\na\n\nb\n"]

    def check(data: bytes, table: Any) -> str:
        text = data.decode("utf-8-sig")
        rows = [tuple(row) for row in csv.reader(io.StringIO(text, newline="")) if row]
        return _says([table.columns, *table.rows] == rows, f"{table.rows[:3]} are not {rows[1:4]}")

    return Reader(seeds, lambda data: read_table(data, "x.csv"), check)


def submissions(home: Path) -> Reader:
    """Submissions: `check` finds no fault only where a checker written from the rules finds none."""
    shapes = {"a": (4, 5), "b": (3, 3), "c": (2, 2)}
    seeds = [b"ImageId,EncodedPixels\na,1 2 5 1\na,9 3\nb,\nc,1 4\n", b"ImageId,EncodedPixels\na,1 1\nb,2 2\nc,\n"]
    path, rules = home / "x.csv", get_competition("dsb2018")

    def read(data: bytes) -> list[str]:
        path.write_bytes(data)
        return check_submission(path, rules, shapes)[0]

    def check(data: bytes, errors: list[str]) -> str:
        fault = "" if errors else find_broken_rule(data, shapes)
        return _says(not fault, f"nothing was found, but {fault}")

    return Reader(seeds, read, check)


def find_broken_rule(data: bytes, shapes: Mapping[str, tuple[int, int]]) -> str:
    """Check a submission as its rules read, row by row."""
    header, *rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row]
    taken: dict[str, set[int]] = {}
    n_rows: dict[str, int] = {}
    blank = set()
    for id_, rle in rows:
        n_rows[id_] = n_rows.get(id_, 0) + 1
        tokens = rle.split()
        if id_ not in shapes or len(tokens) % 2 or not all(re.fullmatch(r"[0-9]+", token) for token in tokens):
            return f"row {id_}: {rle!r}"
        if not tokens:
            blank.add(id_)
        last = 0
        for start, length in zip(map(int, tokens[::2]), map(int, tokens[1::2]), strict=True):
            if start <= last or length < 1 or start + length - 1 > shapes[id_][0] * shapes[id_][1]:
                return f"run {start} {length} of {id_}"
            last = start + length - 1
            pixels = set(range(start, last + 1))
            if pixels & taken.setdefault(id_, set()):
                return f"{id_} overlaps"
            taken[id_] |= pixels
    if header != ["ImageId", "EncodedPixels"] or n_rows.keys() != shapes.keys():
        return f"header {header}, ids {sorted(n_rows)}"
    return next((f"{id_} is blank and not" for id_ in blank if n_rows[id_] > 1), "")


def run_lengths(home: Path) -> Reader:
    """Run-length codes, decoded pixel by pixel once more."""
    labels = images()[1]
    seeds = [rle.encode() for rle in encode(labels)]

    def check(data: bytes, found: np.ndarray) -> str:
        return _says(np.array_equal(found > 0, naive.decode_mask(data.decode(), SHAPE)), "another mask")

    return Reader(seeds, lambda data: decode([data.decode("utf-8", "replace")], SHAPE), check)


def configs(home: Path) -> Reader:
    """Configs, which mean the same when they are written and read again."""
    seeds = [(home / "config.yaml").read_bytes(), (home / "run" / "config.yaml").read_bytes()]

    def check(data: bytes, config: Any) -> str:
        return _says(parse_config(to_yaml(config)) == config, "another config when read again")

    return Reader(seeds, lambda data: parse_config(data.decode("utf-8", "replace")), check)


def _first(folder: Path) -> Path:
    return sorted(folder.glob("*.npz"))[0]


def _in_store(home: Path, kind: str) -> tuple[Path, bytes]:
    file = _first(home / "store" / ("samples" if kind == "samples" else f"targets/{_key(home)}"))
    return file, file.read_bytes()


def _key(home: Path) -> str:
    return next((home / "store" / "targets").glob("*")).name


def samples(home: Path) -> Reader:
    """A store's samples."""
    file, sound = _in_store(home, "samples")
    store = Store.open(home / "store")

    def read(data: bytes) -> list[Any]:
        file.write_bytes(data)
        sample = store.read(file.stem)
        return [sample.id, sample.image, sample.labels, sample.kind]

    return Reader([sound], read, _believe, True, lambda data, rng, _: damage_zip(data, rng))


def targets(home: Path) -> Reader:
    """A store's targets."""
    file, sound = _in_store(home, "targets")
    target_set = TargetSet(home / "store", json.loads((file.parent / "manifest.json").read_text())["identity"])

    def read(data: bytes) -> Any:
        file.write_bytes(data)
        return target_set.read(file.stem)

    return Reader([sound], read, _believe, True, lambda data, rng, _: damage_zip(data, rng))


def planes(home: Path) -> Reader:
    """Predicted planes."""
    file = _first(home / "run" / "fold0" / "planes")

    def read(data: bytes) -> Any:
        file.write_bytes(data)
        return read_planes(file.parent, file.stem)

    return Reader([file.read_bytes()], read, _believe, True, lambda data, rng, _: damage_zip(data, rng))


_DEEP = b"with a right hash"


def checkpoints(home: Path) -> Reader:
    """Checkpoints; beneath their hash, a network is built from what they say."""
    file = home / "run" / "fold0" / "best.safetensors"
    beside = file.with_name(f"{file.name}.sha256")
    sound, listed = file.read_bytes(), beside.read_text()

    def deep(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
        size = int.from_bytes(data[:8], "little")
        header = damage(data[8 : 8 + size], rng, [data[8 : 8 + size]])
        padded = header + b" " * (-len(header) % 8)
        return _DEEP + len(padded).to_bytes(8, "little") + padded + data[8 + size :]

    def read(data: bytes) -> Any:
        file.write_bytes(data.removeprefix(_DEEP))
        beside.write_text(f"{sha256(file)}  {file.name}\n" if data.startswith(_DEEP) else listed)
        if data.startswith(_DEEP):
            return load_ensemble([file]).models[0].state_dict()
        return load_checkpoint(file)["model"]

    return Reader([sound], read, _believe, True, deep)


def records(home: Path) -> Reader:
    """`run.json`, `report.json`, `planes.json` and the store's manifest; beneath their hash, what reads them."""
    files = [home / "run" / "run.json", home / "store" / "report.json", home / "store" / "manifest.json"]
    scratch = home / "record.json"

    def deep(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
        try:
            plain = json.loads(damage(data, rng, others))
            plain.pop("sha256", None)
            return json.dumps({**plain, "sha256": hash_plain(plain)}).encode()
        except (ValueError, AttributeError, TypeError, RecursionError, KeyError):
            return b"{}"

    def read(data: bytes) -> Any:
        scratch.write_bytes(data)
        return read_record(scratch, "make it again")

    def check(data: bytes, found: Any) -> str:
        """Records without a hash, of earlier versions, are believed."""
        plain = json.loads(data)
        return _says(plain.pop("sha256", None) in {None, hash_plain(plain)}, "believed against its hash")

    return Reader([file.read_bytes() for file in files], read, check, deep=deep)


def runs(home: Path) -> Reader:
    """A run whose `run.json` and `folds.csv` are damaged."""
    run = home / "run"
    about, folds = (run / "run.json").read_bytes(), (run / "folds.csv").read_bytes()

    def read(data: bytes) -> Any:
        is_folds = data[:2] != b"{\n"
        (run / "run.json").write_bytes(about if is_folds else data)
        (run / "folds.csv").write_bytes(data if is_folds else folds)
        found = describe_run(run)
        return [run_folds(run)["fold"].tolist(), found.get("store_hash")]

    sound = read(folds)
    check = lambda data, found: _says(found == sound or b"sha256" not in data, f"{found[0]} are believed")  # noqa: E731
    return Reader([about, folds], read, check, has_checksum=True)


def decode_files(home: Path) -> Reader:
    """What `tune` wrote."""
    run = home / "run"
    file, config = run / "decode.yaml", parse_config((home / "config.yaml").read_text())

    def read(data: bytes) -> Any:
        file.write_bytes(data)
        return choose_decode_params(config, [run], chosen=str(file))

    return Reader([file.read_bytes()], read, _believe)


def coco(home: Path) -> Reader:
    """COCO data sets."""
    labels = {"a.png": images()[1], "b.png": images()[1][::-1]}
    polygons = {
        "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "iscrowd": 0}],
    }

    def read(data: bytes) -> Any:
        found = read_coco(parse_json(data, "x.json"), "x.json")
        return {name: decode_coco(image, "x.json") for name, image in found}

    def check(data: bytes, found: Mapping[str, Any]) -> str:
        return "; ".join(filter(None, (_check_objects(data, objects) for objects in found.values())))

    return Reader([LABEL_FORMATS["coco"].encode(labels, None), json.dumps(polygons).encode()], read, check)


def _check_objects(data: bytes, objects: Any) -> str:
    height, width = objects.shape
    ends = [int((runs[:, 0] + runs[:, 1]).max()) for runs in objects.runs if len(runs)]
    starts = [int(runs[:, 0].min()) for runs in objects.runs if len(runs)]
    fits = all(end <= height * width for end in ends) and all(start >= 0 for start in starts)
    return _says(fits, f"runs from {min(starts, default=0)} to {max(ends, default=0)} of {height} x {width}")


def geojson(home: Path) -> Reader:
    """GeoJSON of QuPath."""
    sound = LABEL_FORMATS["geojson"].encode({"a": images()[1]}, None)
    return Reader([sound], lambda data: read_geojson(data, "x.geojson", SHAPE), _check_objects)


def rois(home: Path) -> Reader:
    """ImageJ's selections."""
    sound = LABEL_FORMATS["imagej"].encode({"a": images()[1]}, None)
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        single = archive.read(archive.namelist()[0])
    read = partial(read_rois, where="x.zip", shape=SHAPE)
    return Reader([sound, single], read, _check_objects, deep=lambda data, rng, _: _damage_rois(data, rng))


def _damage_rois(data: bytes, rng: random.Random) -> bytes:
    return damage_zip(data, rng) if data[:2] == b"PK" else damage(data, rng, [data])


def pixel_sizes(home: Path) -> Reader:
    """Pixel sizes of TIFFs."""
    image = images()[0]
    imagej = io.BytesIO()
    tifffile.imwrite(imagej, image, imagej=True, resolution=(3, 3), metadata={"unit": "um"})
    ome = tiff(image, ome=True, metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})

    def check(data: bytes, found: tuple[float, float] | None) -> str:
        fits = found is None or all(np.isfinite(side) and side > 0 for side in found)
        return _says(fits, f"a pixel of {found} µm")

    seeds = [imagej.getvalue(), ome, tiff(image, resolution=(1000, 1000), resolutionunit="CENTIMETER")]
    return Reader(seeds, lambda data: read_pixel_size(io.BytesIO(data)), check)


def weights(home: Path) -> Reader:
    """Weights that somebody else wrote, pickled or not."""
    import torch
    from safetensors.torch import save

    tensors = {"a.weight": torch.ones(2, 3), "b": torch.zeros(4)}
    pickled = io.BytesIO()
    torch.save({"state_dict": tensors}, pickled)
    files = [home / "w.pth", home / "w.safetensors"]

    def read(data: bytes) -> Any:
        file = files[data[:2] != b"PK"]
        file.write_bytes(data)
        return read_tensors(file)

    return Reader([pickled.getvalue(), save(tensors)], read, _believe)


READERS: dict[str, Callable[[Path], Reader]] = {
    "PNG": png_images,
    "TIFF": tiff_images,
    "JPEG, BMP, GIF, WebP": other_images,
    "masks": masks,
    "label images": label_images,
    "zips": archives,
    "CSVs": tables,
    "submissions": submissions,
    "run-length codes": run_lengths,
    "configs": configs,
    "samples of a store": samples,
    "targets of a store": targets,
    "planes": planes,
    "checkpoints": checkpoints,
    "records": records,
    "runs": runs,
    "tuned decoding": decode_files,
    "COCO": coco,
    "GeoJSON": geojson,
    "ImageJ selections": rois,
    "pixel sizes": pixel_sizes,
    "weights": weights,
}
