"""What every operation is run on: drawn images by size and number of instances, and real ones."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tests.bench.drawn import draw_labels
from tests.realdata import dsb2018_labels


@dataclass(frozen=True)
class Case:
    """One image.

    Attributes
    ----------
    name : str
        As the tables have it.
    shape : tuple of int, or None
        (H, W); real images have their own.
    n : int
        Instances; of real images, the rank among all by their number, in percent.
    """

    name: str
    shape: tuple[int, int] | None
    n: int

    def __str__(self) -> str:
        return self.name

    @property
    def is_quick(self) -> bool:
        """Whether --quick keeps it."""
        return self.shape is None or (max(self.shape) <= 1024 and self.n <= 100)


def _drawn(side: int, n: int) -> Case:
    return Case(f"{side}² × {n:,}", (side, side), n)


# 94,864 pixels with 40 nuclei: the average image of stage1_train.
AVERAGE = Case("DSB average", (308, 308), 40)
# Ascending, because a rival's time on one case says whether it is asked for the next. 5,000 instances of two pixels
# would be no nuclei: they are left out at 256².
SQUARE = tuple(_drawn(side, n) for side in (256, 1024, 4096) for n in (10, 100, 1000, 5000) if side > 256 or n < 5000)
REAL = (Case("real, median", None, 50), Case("real, most nuclei", None, 100))
ALL = (*SQUARE[:3], AVERAGE, *REAL, *SQUARE[3:])


@lru_cache(maxsize=1)
def labels_of(case: Case):
    """Draw or read a case's labels; a real case is skipped where there is no real data."""
    if case.shape is not None:
        return draw_labels(np.random.default_rng([*case.shape, case.n]), case.shape, case.n)
    by_n = sorted(real_labels().values(), key=lambda labels: (int(labels.max()), labels.shape))
    return by_n[(len(by_n) - 1) * case.n // 100]


def describe(operation, case: Case, labels):
    """Say what is worked on, as the results have it."""
    n_y, n_x = labels.shape
    size = {"case": case.name, "size": f"{n_y} × {n_x}", "pixels": labels.size, "instances": int(labels.max())}
    return {"operation": operation, **size, "is_square": case in SQUARE}


def real_folder() -> Path | None:
    """Name the folder of real data, if there is one."""
    folder = os.environ.get("KAGGLE_UNET_DATA")
    return Path(folder) if folder else None


def real_labels():
    """Read the labels of stage1_train by image."""
    folder = real_folder()
    if folder is None:
        pytest.skip("KAGGLE_UNET_DATA names no folder of real data")
    return dsb2018_labels(folder)[0]
