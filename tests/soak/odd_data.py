"""Data as people have them: read to the right values, or refused with the reason; never other values, nothing lost.

Every set has four images with discs, and masks of them, in one of the ways that docs/formats.md names.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from kaggle_unet.competitions.label_files import LABEL_FORMATS
from kaggle_unet.masks.rle import encode
from kaggle_unet.store.store import Store
from kaggle_unet.types import Sample
from tests import layouts
from tests.files import encode as encode_picture
from tests.files import png, tiff, write_folder, zipped
from tests.soak.home import CONFIG, call
from tests.soak.row import Plan, Row

READ, LAYOUT = "read to the values that were drawn", "every sample is read right, or what is wrong with it is named"
REFUSED = "refused, with the reason"
SHAPE = (64, 64)
Drawn = Mapping[str, tuple[np.ndarray, np.ndarray]]  # image and labels by id
Files = dict[str, bytes]
Build = Callable[[Drawn], Files]


def draw(rng: np.random.Generator) -> Drawn:
    """Draw four images of five discs each, that don't touch."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    drawn = {}
    for number in range(4):
        labels = np.zeros(SHAPE, np.uint8)
        for id_, (top, left) in enumerate([(12, 12), (12, 44), (44, 12), (44, 44), (30, 28)], start=1):
            centre, radius = np.array([top, left]) + rng.integers(-2, 3, 2), rng.integers(4, 8)
            labels[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2] = id_
        image = np.where(labels > 0, 140, 60) + rng.integers(-30, 31, SHAPE)
        drawn[f"im{number}"] = image.astype(np.uint8), labels
    return drawn


def _pairs(
    mask: Callable[[np.ndarray], bytes] = png,
    image: Callable[[np.ndarray], bytes] = png,
    names: tuple[str, str] = ("images/{}.png", "masks/{}.png"),
) -> Build:
    """Write an image and a mask per id."""

    def build(drawn: Drawn) -> Files:
        files = {names[0].format(id_): image(pixels) for id_, (pixels, _) in drawn.items()}
        return files | {names[1].format(id_): mask(labels) for id_, (_, labels) in drawn.items()}

    return build


def _with(build: Build, change: Callable[[Files], Files]) -> Build:
    return lambda drawn: change(build(drawn))


def _masks_in(suffix: str, mask: Callable[[np.ndarray], bytes]) -> Build:
    return _pairs(mask, names=("images/{}.png", "masks/{}." + suffix))


def _images_in(suffix: str, image: Callable[[np.ndarray], bytes]) -> Build:
    return _pairs(image=image, names=("images/{}." + suffix, "masks/{}.png"))


def _binary(labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.uint8) * 255


def _palette(labels: np.ndarray, *, void: bool = False, black_last: bool = False) -> bytes:
    pixels = labels.copy()
    colours = [0, 0, 0, 200, 30, 40, 10, 220, 30, 90, 90, 250, 250, 240, 20, 20, 240, 250]
    if black_last:
        pixels, colours = (pixels - 1).astype(np.uint8) % 6, [*colours[3:], 0, 0, 0]
        pixels[labels == 0] = 5
    if void:
        pixels[_outline(labels)] = 255
        colours += [0] * (255 * 3 - len(colours)) + [224, 224, 192]
    picture = Image.fromarray(pixels, "P")
    picture.putpalette(colours)
    return png(picture)


def _outline(labels: np.ndarray) -> np.ndarray:
    grown = labels > 0
    for axis in (0, 1):
        grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    return grown & (labels == 0)


def _colours(labels: np.ndarray) -> bytes:
    table = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)
    return png(table[labels])


def _alpha(labels: np.ndarray) -> bytes:
    return png(np.dstack([*[np.full(SHAPE, 255, np.uint8)] * 3, _binary(labels)]))


def _per_object(drawn: Drawn, *suffixes: str) -> Files:
    files = _pairs()(drawn)
    files = {name: data for name, data in files.items() if name.startswith("images")}
    for id_, (_, labels) in drawn.items():
        for n in range(1, 6):
            suffix = suffixes[n % len(suffixes)]
            kind = {"png": "PNG", "gif": "GIF", "bmp": "BMP"}[suffix]
            files[f"masks/{id_}/{n}.{suffix}"] = encode_picture(_binary(labels == n), kind)
    return files


def _in_format(name: str, place: str) -> Build:
    """Write labels as the kit does; other programs read them in its tests."""

    def build(drawn: Drawn) -> Files:
        files = {f"images/{id_}.png": png(image) for id_, (image, _) in drawn.items()}
        write = LABEL_FORMATS[name].encode
        if "{}" in place:
            return files | {place.format(id_): write({id_: labels}, None) for id_, (_, labels) in drawn.items()}
        return files | {place: write({id_: labels for id_, (_, labels) in drawn.items()}, None)}

    return build


def _row_codes(drawn: Drawn) -> Files:
    """Codes that run along the rows."""
    codes = [f"{id_},{code}" for id_, (_, labels) in drawn.items() for code in encode(np.ascontiguousarray(labels.T))]
    return _images_of(drawn) | {"masks.csv": "\n".join(["ImageId,EncodedPixels", *codes, ""]).encode()}


def _images_of(drawn: Drawn) -> Files:
    return {f"images/{id_}.png": png(image) for id_, (image, _) in drawn.items()}


def _turned(pixels: np.ndarray) -> bytes:
    """Turn an image, and say so in its EXIF tag: displayed, it is as it was drawn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(Image.fromarray(np.rot90(pixels)), exif=exif)


def _encrypted(files: Files) -> bytes:
    """Pack a zip whose entries say that they are encrypted."""
    data = bytearray(zipped(files))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(sign)
        while start >= 0:
            data[start + at] |= 1
            start = data.find(sign, start + 4)
    return bytes(data)


def _without(name: str) -> Build:
    return _with(PLAIN, lambda files: {other: data for other, data in files.items() if other != name})


def _more(**more: str) -> Build:
    """Write files again under other names."""
    return _with(PLAIN, lambda files: files | {new: files[old] for new, old in more.items()})


def _spoilt(change: Callable[[bytes], bytes], which: str = "images/im2") -> Build:
    spoil = lambda files: {name: change(data) if which in name else data for name, data in files.items()}  # noqa: E731
    return _with(PLAIN, spoil)


def _renamed(files: Files, old: str, new: str) -> Files:
    return {name.replace(old, new): data for name, data in files.items()}


def _stack(image: np.ndarray, **options: object) -> bytes:
    planes = np.stack([image, image // 2, image // 3])
    return tiff(planes, photometric="minisblack", **(options or {"metadata": {"axes": "ZYX"}}))


def _channels(image: np.ndarray, n: int) -> bytes:
    return tiff(np.dstack([image // (k + 1) for k in range(n)]), photometric="minisblack", planarconfig="contig")


def _colour(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, image[::-1], 255 - image])


PLAIN = _pairs()
BINARY = _pairs(lambda labels: png(_binary(labels)))
READS: dict[str, Build] = {
    "numbers of 8 bits": PLAIN,
    "numbers of 16 bits, with gaps": _pairs(lambda labels: png(labels.astype(np.uint16) * 300)),
    "numbers in TIFFs of 32 bits": _masks_in("tif", lambda labels: tiff(labels.astype(np.int32) * 70_000)),
    "numbers above 2^31": _masks_in("tif", lambda labels: tiff(np.where(labels, labels + np.uint32(2**31), 0))),
    "numbers in TIFFs of 64 bits": _masks_in("tif", lambda labels: tiff(labels.astype(np.uint64) * 5)),
    "numbers in BMPs": _masks_in("bmp", lambda labels: encode_picture(labels, "BMP")),
    "numbers in GIFs": _masks_in("gif", lambda labels: encode_picture(labels, "GIF")),
    "binary masks in lossless WebPs": _masks_in(
        "webp", lambda labels: encode_picture(_binary(labels), "WEBP", lossless=True)
    ),
    "binary masks of 0 and 255": BINARY,
    "binary masks of 0 and 1": _pairs(lambda labels: png((labels > 0).astype(np.uint8))),
    "binary masks of 0 and 128": _pairs(lambda labels: png((labels > 0).astype(np.uint8) * 128)),
    "binary masks of 1 bit": _pairs(lambda labels: png(labels > 0)),
    "binary masks as JPEGs": _masks_in("jpg", lambda labels: encode_picture(_binary(labels), "JPEG", quality=90)),
    "a palette with outlines of 255": _pairs(partial(_palette, void=True)),
    "a palette whose black comes last": _pairs(partial(_palette, black_last=True)),
    "a colour per object": _pairs(_colours),
    "masks in the alpha channel": _pairs(_alpha),
    "a file per object": lambda drawn: _per_object(drawn, "png"),
    "a file per object, of several formats": lambda drawn: _per_object(drawn, "png", "gif", "bmp"),
    "COCO with run-length codes": _in_format("coco", "masks.json"),
    "GeoJSON": _in_format("geojson", "masks/{}.geojson"),
    "selections of ImageJ": _in_format("imagej", "masks/{}.zip"),
    "codes down the columns": _in_format("rle", "masks.csv"),
    "codes along the rows": _row_codes,
    "masks named by a word at the end": _pairs(names=("images/{}.png", "masks/{}_mask.png")),
    "masks among the images": _pairs(names=("images/{}.png", "images/{}_mask.png")),
    "masks in a folder named labels": _pairs(names=("images/{}.png", "labels/{}.png")),
    "names composed and decomposed": _with(
        PLAIN, lambda files: _renamed(_renamed(files, "/im", "/\u00e9"), "masks/\u00e9", "masks/e\u0301")
    ),
    "suffixes in capitals": _pairs(names=("images/{}.PNG", "masks/{}.PNG")),
    "notes beside the images": _with(PLAIN, lambda files: files | {"images/a.txt": b"a note", "images/.DS_Store": b""}),
    "images of 16 bits in a narrow band": _pairs(image=lambda image: png(image.astype(np.uint16) * 15 + 33_069)),
    "images of 32-bit floats": _images_in("tif", lambda image: tiff(image / np.float32(3))),
    "images of 16-bit colours, LZW": _images_in(
        "tif", lambda image: tiff(_colour(image).astype(np.uint16) * 257, photometric="rgb", compression="lzw")
    ),
    "images of 16-bit colours in PNGs": _pairs(image=lambda image: tiff(_colour(image), photometric="rgb")),
    "images of separate colour planes": _images_in(
        "tif", lambda image: tiff(np.moveaxis(_colour(image), 2, 0), photometric="rgb", planarconfig="separate")
    ),
    "images in tiles, BigTIFF": _images_in("tif", lambda image: tiff(image, tile=(16, 16), bigtiff=True)),
    "OME-TIFFs": _pairs(image=lambda image: tiff(image, ome=True), names=("images/{}.ome.tif", "masks/{}.png")),
    "images as BMPs, GIFs": _images_in("bmp", lambda image: encode_picture(image, "BMP")),
    "images as lossless WebPs": _images_in("webp", lambda image: encode_picture(_colour(image), "WEBP", lossless=True)),
    "images with an opaque alpha channel": _pairs(image=lambda image: png(image, "RGBA")),
    "images turned by their EXIF tag": _pairs(image=_turned),
}  # fmt: skip
REFUSES: dict[str, tuple[Build, str]] = {
    "numbers as JPEGs": (_masks_in("jpg", lambda labels: encode_picture(labels * 40, "JPEG")), "JPEG"),
    "inverted masks": (_pairs(lambda labels: png(255 - _binary(labels))), "invert|foreground"),
    "numbers without a 0": (_pairs(lambda labels: png(labels + np.uint8(7))), "background| 0"),
    "a pickle of Cellpose": (
        lambda drawn: _images_of(drawn) | {f"images/{id_}_seg.npy": b"\x93NUMPY" for id_ in drawn}, "_cp_masks"
    ),
    "masks of another size": (_pairs(lambda labels: png(labels[:60])), "60"),
    "an image without a mask": (_without("masks/im1.png"), "im1"),
    "a mask without an image": (_without("images/im1.png"), "im1"),
    "two masks of an image": (_more(**{"masks/im1.tif": "masks/im1.png"}), "im1"),
    "names that differ in case alone": (
        _more(**{"images/IM1.png": "images/im1.png", "masks/IM1.png": "masks/im1.png"}), "IM1"
    ),
    "some in folders further down": (_with(PLAIN, lambda files: _renamed(files, "/im3", "/more/im3")), "more/im3"),
    "images of two channels": (_images_in("tif", partial(_channels, n=2)), "channel"),
    "images of four channels": (_images_in("tif", partial(_channels, n=4)), "channel"),
    "stacks": (_images_in("tif", _stack), "several|stack|3-D"),
    "stacks in a single page": (_images_in("tif", partial(_stack, truncate=True)), "3-D|holds"),
    "images with NaN": (
        _images_in("tif", lambda image: tiff(np.where(image > 100, np.nan, image).astype(np.float32))), "NaN"
    ),
    "an image cut off": (_spoilt(lambda data: data[: len(data) // 2]), "im2"),
    "a mask cut off": (_spoilt(lambda data: data[:-20], "masks/im2"), "im2"),
    "an empty image": (_spoilt(lambda data: b""), "im2"),
    "a text named as an image": (_spoilt(lambda data: b"<html>not found</html>"), "im2"),
    "a damaged zip": (_with(PLAIN, lambda files: {"x.zip": zipped(files)[:-900]}), "x.zip"),
    "an encrypted zip": (_with(PLAIN, lambda files: {"x.zip": _encrypted(files)}), "encrypted"),
    "an empty zip": (_with(PLAIN, lambda files: {"x.zip": zipped({})}), "x.zip"),
    "COCO without images": (
        lambda drawn: _images_of(drawn) | {"masks.json": b'{"images": [], "annotations": []}'}, "im0"
    ),
}  # fmt: skip


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per kind of data, and one for layouts at random."""
    yield "layouts at random", partial(try_layouts, plan)
    names = [*READS, *REFUSES]
    for name in names[::20] if plan.quick else names:
        yield name, partial(try_kind, name, plan)


def try_layouts(plan: Plan) -> Row:
    """Read sets of random layouts, with a fault in one of sixteen files."""
    row = Row("odd data", "layouts at random", LAYOUT)
    for number in range(plan.tries(full=1000, quick=5)):
        faults = layouts.check(plan.seed * 10**6 + number)
        row.add("wrong" if faults else "done", f"{number}: {faults}")
    return row


def try_kind(name: str, plan: Plan) -> Row:
    """Prepare a set of one kind, and compare what is in the store."""
    row = Row("odd data", name, READ if name in READS else REFUSED)
    build, wanted = (READS[name], None) if name in READS else REFUSES[name]
    work = plan.home / "odd"
    for number in range(plan.tries(full=3, quick=1)):
        shutil.rmtree(work, ignore_errors=True)
        drawn = draw(np.random.default_rng([plan.seed, number]))
        files = build(drawn)
        data = write_folder(work / "data", files)
        (work / "config.yaml").write_text(CONFIG.replace("dsb2018", "folder"))
        data = f"{data}/x.zip" if "x.zip" in files else data
        end = call(["-q", "make-targets", work / "config.yaml", "--data", data, "--store", work / "store"])
        outcome, said = end.verdict()
        if outcome == "done":
            said = "not refused" if wanted else compare(read_store(work / "store"), drawn)
            outcome = "wrong" if said else "done"
        elif outcome == "refused":
            outcome = "refused" if wanted and re.search(wanted, end.err) else "wrong"
        row.add(outcome, f"{number}: {said}")
    shutil.rmtree(work, ignore_errors=True)
    return row


def read_store(folder: Path) -> list[Sample]:
    """Read a store's samples in the order of their ids."""
    store = Store.open(folder)
    return [store.read(id_) for id_ in sorted(path.stem for path in (folder / "samples").glob("*.npz"))]


def compare(samples: Sequence[Sample], drawn: Drawn) -> str:
    """Say where samples are not what was drawn."""
    if len(samples) != len(drawn):
        return f"{len(samples)} samples of {len(drawn)}"
    for sample, (image, labels) in zip(samples, drawn.values(), strict=True):
        assert sample.labels is not None
        pairs = np.unique(np.stack([sample.labels.ravel(), labels.ravel()]), axis=1)
        if pairs.shape[1] != 6 or len(set(pairs[0])) != 6 or len(set(pairs[1])) != 6:
            return f"{sample.id}: other labels: {pairs.shape[1]} pairs of numbers"
        if not np.corrcoef(sample.image.reshape(*SHAPE, -1)[..., 0].ravel(), image.ravel())[0, 1] > 0.9999:
            return f"{sample.id}: another image"
    return ""
