"""What the recipes share: images in, labels out, and the stages that `scripts/peers` calls one after the other.

A recipe runs in the environment of its own library, which knows nothing of this package.
`python RECIPE.py STAGE DATA WORK SECONDS` trains on DATA/train, or tunes or predicts on DATA/validation, in WORK.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from tifffile import imread, imwrite

Part = tuple[list[Any], list[Any]]  # images, labels


def read(folder: Path) -> Part:
    """Read images and label images in the order of their names."""
    images, labels = ([imread(path) for path in sorted((folder / kind).iterdir())] for kind in ("images", "masks"))
    return images, [one.astype(np.int32) for one in labels]


def remaining_s(seconds: float) -> float:
    """Return what is left of this process's time, of which its imports are a part."""
    return seconds - process_time()


def run(
    train: Callable[[Part, Part, Path, float], dict[str, int]],
    predict: Callable[[list[Any], Path], list[Any]],
    tune: Callable[[Part, Path], None] | None = None,
) -> None:
    """Do the stage that the command line names."""
    stage, data, work, seconds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    if stage == "train":
        seen = train(read(data / "train"), read(data / "validation"), work, seconds)
        (work / "seen.json").write_text(json.dumps(seen))
    elif stage == "tune" and tune is not None:
        tune(read(data / "validation"), work)
    elif stage == "predict":
        found = predict(read(data / "validation")[0], work)
        (work / "labels").mkdir(exist_ok=True)
        for path, labels in zip(sorted((data / "validation" / "images").iterdir()), found, strict=True):
            imwrite(work / "labels" / path.name, np.asarray(labels).astype(np.uint16))
