"""Drawn images in the files that Kaggle serves: the zips of DSB2018 and TGS, and a plain folder.

The demo and the tests run on these, so trying the kit needs no competition's files. Every writer returns the truth,
even for a set written without masks. The same arguments produce the same bytes.
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kaggle_unet.io.images import encode_png, encode_tiff
from kaggle_unet.io.tables import format_rows
from kaggle_unet.masks.rle import encode_mask
from kaggle_unet.store import atomic_write
from kaggle_unet.synthetic.images import Kind, draw_nuclei, draw_salt, stain
from kaggle_unet.types import Image, Labels, Shape

# The date of the competition's own files; a zip without a fixed date would differ from call to call.
_DATE = (2018, 4, 16, 0, 0, 0)


def write_dsb_zip(
    path: Path,
    seed: int,
    n: int,
    *,
    with_masks: bool = True,
    shape: Shape = (128, 128),
    kinds: tuple[Kind, ...] = ("gray-dark",),
) -> dict[str, Labels]:
    """Write drawn nuclei as a zip of the 2018 Data Science Bowl; return the labels by id, in the order of the zip.

    ``<id>/images/<id>.png`` are RGBA of 8 bits, ``<id>/masks/<anything>.png`` gray images of 0 and 255, one per nucleus
    (none with `with_masks=False`, as in stage1_test.zip); ids are 64 hexadecimal digits. `kinds` of images are taken in
    turn.
    """
    rng = np.random.default_rng(seed)
    truth: dict[str, Labels] = {}
    files: list[tuple[str, bytes]] = []
    for image, labels in _draw_set(rng, n, shape, kinds):
        id_ = rng.bytes(32).hex()
        truth[id_] = labels
        files.append((f"{id_}/images/{id_}.png", encode_png(_add_channels(image, alpha=True))))
        ids = range(1, int(labels.max()) + 1) if with_masks else range(0)
        files += [(f"{id_}/masks/{rng.bytes(32).hex()}.png", encode_png((labels == i) * np.uint8(255))) for i in ids]
    _write_zip(path, files)
    return truth


def _draw_set(
    rng: np.random.Generator, n: int, shape: Shape, kinds: tuple[Kind, ...]
) -> Iterator[tuple[Image, Labels]]:
    """Draw images as densely populated as one of 128 × 128 with 13 nuclei, give or take; none without a nucleus."""
    typical = 13 * shape[0] * shape[1] / 128**2
    for number in range(n):
        labels = np.zeros(shape, np.int32)
        while not labels.any():
            image, labels = draw_nuclei(rng, shape, n=max(1, round(typical * rng.uniform(0.6, 1.4))))
        yield stain(image, kinds[number % len(kinds)]), labels


def write_tgs_zip(path: Path, seed: int, n: int, *, with_masks: bool = True) -> dict[str, Labels]:
    """Write drawn salt tiles as a zip of the TGS challenge, with the CSVs beside it; return salt (1) by tile id.

    As in Kaggle's, images are RGB with three equal channels, empty masks are PNGs of 8 bits and the others of 16 bits
    with 0 and 65535. With masks, train.csv lies beside the zip. An existing depths.csv keeps its rows and gains those
    of this zip, since Kaggle's covers train.zip and test.zip.
    """
    rng = np.random.default_rng(seed)
    truth: dict[str, Labels] = {}
    files: list[tuple[str, bytes]] = []
    for _ in range(n):
        image, mask = draw_salt(rng)
        id_ = rng.bytes(5).hex()
        truth[id_] = mask.astype(np.int32)
        files.append((f"images/{id_}.png", encode_png(_add_channels(image))))
        if with_masks:
            files.append((f"masks/{id_}.png", encode_png(mask * (np.uint16(65535) if mask.any() else np.uint8(255)))))
    _write_zip(path, sorted(files))
    depths = [(id_, str(z)) for id_, z in zip(truth, rng.integers(50, 960, n), strict=True)]
    _add_rows(path.parent / "depths.csv", ("id", "z"), depths)
    if with_masks:
        rows = [(id_, encode_mask(salt > 0)) for id_, salt in truth.items()]
        atomic_write(path.parent / "train.csv", format_rows(("id", "rle_mask"), rows))
    return truth


def write_folder(
    path: Path,
    seed: int,
    n: int,
    *,
    shape: Shape = (128, 128),
    kinds: tuple[Kind, ...] = ("gray-dark",),
    suffix: Literal["png", "tif"] = "png",
) -> dict[str, Labels]:
    """Write drawn nuclei as a folder of images and of 16-bit label images; return the labels by id."""
    rng = np.random.default_rng(seed)
    encode, truth = {"png": encode_png, "tif": encode_tiff}[suffix], dict[str, Labels]()
    for index, (image, labels) in enumerate(_draw_set(rng, n, shape, kinds)):
        id_ = f"nuclei_{index:03d}"
        truth[id_] = labels
        atomic_write(path / "images" / f"{id_}.{suffix}", encode(image))
        atomic_write(path / "masks" / f"{id_}.{suffix}", encode(labels.astype(np.uint16)))
    return truth


def _add_channels(image: Image, *, alpha: bool = False) -> Image:
    colours = image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2)
    return np.dstack([colours, np.full(image.shape[:2], 255, np.uint8)]) if alpha else colours


def _add_rows(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Write rows to a CSV, keeping those it already had for other ids."""
    old = list(csv.reader(path.read_text().splitlines()))[1:] if path.exists() else []
    new = {row[0] for row in rows}
    atomic_write(path, format_rows(header, [tuple(row) for row in old if row[0] not in new] + [*rows]))


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write members in order; PNGs are stored as they are, being compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    atomic_write(path, buffer.getvalue())
