"""All of a stage1_train CSV to label images, against pandas and one numpy pass per row."""

import csv
from functools import partial

import numpy as np
import pandas
import pytest

from kaggle_unet.competitions.pairing import collect_rles
from kaggle_unet.io.tables import read_csv
from kaggle_unet.masks.rle import decode, encode
from tests.bench.cases import real_folder, real_labels
from tests.bench.drawn import draw_labels
from tests.bench.race import Rival

pytestmark = pytest.mark.bench

# What stage1_train has most of: 664 images and 29,000 nuclei in all.
SHAPES, N_IMAGES, N_INSTANCES = ((256, 256), (256, 320), (520, 696), (360, 360), (512, 640)), 664, 29_000


@pytest.fixture(scope="module")
def images():
    """Labels of all images by id, the real ones where there are any."""
    if real_folder():
        return real_labels()
    rng = np.random.default_rng(3)
    n = 3 + rng.multinomial(N_INSTANCES - 3 * N_IMAGES, rng.dirichlet(np.ones(N_IMAGES)))
    shapes = rng.choice(SHAPES, N_IMAGES, p=(0.5, 0.17, 0.14, 0.14, 0.05))
    return {f"image{i:04d}": draw_labels(rng, tuple(shapes[i].tolist()), int(n[i])) for i in range(N_IMAGES)}


@pytest.fixture(scope="module")
def table(images, tmp_path_factory):
    """The CSV that says the same, one row per nucleus."""
    path = tmp_path_factory.mktemp("csv") / "stage1_train_labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("ImageId", "EncodedPixels"))
        writer.writerows((id_, rle) for id_, labels in images.items() for rle in encode(labels) or [""])
    return path


def decode_all(path, shapes):
    codes = collect_rles(read_csv(path).select("ImageId", "EncodedPixels"))
    return [decode(codes[id_], shape) for id_, shape in shapes.items()]


def decode_rows(path, shapes):
    """Paint a mask per row and copy it, as most kernels of the competitions do."""
    codes = pandas.read_csv(path, dtype=str).groupby("ImageId")["EncodedPixels"]
    return [_decode_image(codes.get_group(id_), shape) for id_, shape in shapes.items()]


def _decode_image(rles, shape):
    labels = np.zeros(shape, dtype=np.int32)
    for label, rle in enumerate(rles.dropna(), start=1):
        labels[_decode_row(rle, shape) > 0] = label
    return labels


def _decode_row(rle, shape):
    tokens = rle.split()
    starts, lengths = (np.asarray(part, dtype=int) for part in (tokens[::2], tokens[1::2]))
    pixels = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for start, length in zip(starts - 1, lengths, strict=True):
        pixels[start : start + length] = 1
    return pixels.reshape(shape[::-1]).T


def check(ours, theirs):
    assert all((one == other).all() for one, other in zip(ours, theirs, strict=True))


def test_csv_decode(race, images, table):
    shapes = {id_: labels.shape for id_, labels in images.items()}
    n_px, n = sum(labels.size for labels in images.values()), sum(int(labels.max()) for labels in images.values())
    name = f"stage1_train, {'real' if real_folder() else 'drawn'}"
    about = {"operation": "csv-decode", "case": name, "size": f"{len(images)} images", "pixels": n_px, "instances": n}
    rows = partial(decode_rows, table, shapes)
    rival = Rival("pandas + numpy, row by row", rows, n_px, 12 * n_px, check, most_s=60)  # ten seconds, more or less

    race(about, partial(decode_all, table, shapes), [rival])
