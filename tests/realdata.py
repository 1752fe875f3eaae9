"""The competitions' own files, read the plain way; `folder` is what the fixture `real_data` gives."""

import csv
import io
import zipfile
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from kaggle_unet.masks.column_runs import paint_masks


@cache
def dsb2018_labels(folder):
    """Read the labels of all training images of DSB2018, and the sums of contested pixels and of lost masks."""
    labels, n_contested, n_empty = {}, 0, 0
    with zipfile.ZipFile(folder / "dsb2018" / "stage1_train.zip") as archive:
        names = defaultdict(list)
        for name in sorted(archive.namelist()):
            if "/masks/" in name and name.endswith(".png"):
                names[Path(name).parts[-3]].append(name)
        for sample, of_sample in names.items():
            masks = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) > 0 for name in of_sample]
            labels[sample], contested, empty = paint_masks(masks, masks[0].shape)
            n_contested, n_empty = n_contested + contested, n_empty + empty
    return labels, n_contested, n_empty


def tgs_rles(folder):
    """Read the codes of all training tiles of TGS."""
    with (folder / "tgs" / "train.csv").open(newline="") as file:
        return [row["rle_mask"] for row in csv.DictReader(file)]
