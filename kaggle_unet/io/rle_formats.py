"""Run-length codes as other competitions write them: along the rows or the columns, the first pixel being 1 or 0.

Nothing in such a CSV says which. A pixel 0 tells where counting begins. A wrong order tears objects apart where images
are not square; where they are, it mirrors them at the diagonal, and the image tells which of the two fits its edges.
"""

import re
from collections.abc import Callable, Collection, Sequence

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.io.tables import Table
from kaggle_unet.masks.rle import decode
from kaggle_unet.types import Image, Labels, Mask

_PAIRS = re.compile(r"\s*(?:-1\s*|(?:\d+\s+\d+\s*)*)")  # some write -1 where there is no object
_CLEARLY = 1.1  # how much better one order must be


def find_rle_columns(table: Table, is_id: Callable[[str], bool]) -> tuple[str, str]:
    """Find the columns of ids and of codes."""
    columns = {name: [value for (value,) in table.select(name)] for name in table.columns}
    ids = [name for name, values in columns.items() if values and sum(map(is_id, values)) * 2 > len(values)]
    codes = [
        name
        for name, values in columns.items()
        if any(" " in value.strip() for value in values) and all(_PAIRS.fullmatch(value) for value in values)
    ]
    if len(ids) != 1 or len(codes) != 1:
        found = f"{len(ids)} with the images' names, {len(codes)} with pairs of start and length"
        raise DataError(f"{table.where} has the columns {', '.join(table.columns)}: {found}; expected one of each")
    return ids[0], codes[0]


def count_from_1(rles: Sequence[str]) -> list[str]:
    """Add 1 to the starts of codes that count from 0."""
    pairs = [np.array(rle.split(), dtype=np.int64).reshape(-1, 2) + np.array([1, 0]) for rle in rles]
    return [" ".join(map(str, found.ravel().tolist())) for found in pairs]


def decode_in_order(rles: Sequence[str], shape: tuple[int, int], *, by_rows: bool) -> Labels:
    """Decode codes that run along the rows or the columns."""
    return decode(rles, shape[::-1]).T if by_rows else decode(rles, shape)


def tell_rle_rules(rles: Collection[Sequence[str]], images: Collection[Image]) -> tuple[bool, bool, str]:
    """Tell whether codes run along rows, and whether they count from 0, by those of some images; and say why."""
    starts = [int(number) for codes in rles for rle in codes for number in rle.split()[:1]]
    from_zero = 0 in starts
    base = "a code begins at pixel 0" if from_zero else "no code begins at pixel 0"
    pairs = [(count_from_1(codes) if from_zero else codes, image) for codes, image in zip(rles, images, strict=True)]
    masks = {
        by_rows: [decode_in_order(codes, image.shape[:2], by_rows=by_rows) > 0 for codes, image in pairs]
        for by_rows in (False, True)
    }
    lengths = [sum(_outline_px(mask) for mask in masks[by_rows]) + 1 for by_rows in (True, False)]
    fits = [sum(map(_contrast, masks[by_rows], images)) + 1e-9 for by_rows in (False, True)]
    for (columns, rows), why in ((lengths, "objects are in fewer pieces"), (fits, "objects differ more from the rest")):
        if max(columns, rows) > _CLEARLY * min(columns, rows):
            return rows > columns, from_zero, f"{base}; {why} so"
    return False, from_zero, f"{base}; rows fit as well, columns are Kaggle's rule"


def _outline_px(mask: Mask) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def _contrast(mask: Mask, image: Image) -> float:
    """Return how far the means inside and outside are apart, in standard deviations."""
    gray = image.mean(axis=2) if image.ndim == 3 else image.astype(np.float64)
    if mask.all() or not mask.any():
        return 0.0
    return float(abs(gray[mask].mean() - gray[~mask].mean()) / (gray.std() or 1))
