"""Run-length encoding (RLE) as Kaggle writes it: ``"start length start length …"``.

Pixels are numbered from 1, down the first column, then down the next (column-major, not the order of numpy or PNG).
Runs are sorted and do not share pixels. An empty mask is the empty text.

>>> decode(encode(np.eye(2, dtype=np.int32)), (2, 2))
array([[1, 0],
       [0, 1]], dtype=int32)
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kaggle_unet.errors import DataError
from kaggle_unet.kernels.rle import MOST_DIGITS, UNREADABLE, read_rle_text, write_rle_text
from kaggle_unet.masks.column_runs import Firsts, Runs, find_column_runs, paint_column_runs, runs_of_mask
from kaggle_unet.masks.labels import check_mask, check_shape, refuse_ids, to_labels
from kaggle_unet.types import Labels, Mask, Shape

__all__ = ["decode", "decode_mask", "describe_faults", "encode", "encode_mask"]
_INTEGER = re.compile(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}", re.ASCII)


def encode_mask(mask: ArrayLike) -> str:
    """Write one mask as a run-length code.

    Parameters
    ----------
    mask : bool array, shape (H, W)
        The object's pixels.

    Returns
    -------
    str
        ``"start length …"``, column-major, 1-based; ``""`` for an empty mask.

    Examples
    --------
    A run goes on from the foot of one column to the head of the next:

    >>> import numpy as np
    >>> encode_mask(np.array([[0, 1], [0, 1], [1, 0]], dtype=bool))
    '3 3'
    """
    mask = check_mask(mask)
    runs = runs_of_mask(mask)
    return "".join(_write(runs, np.array([0, len(runs)]), mask.size)) if len(runs) else ""


def decode_mask(rle: str, shape: Shape) -> Mask:
    """Read one mask from its run-length code.

    Parameters
    ----------
    rle : str
        ``"start length …"``, column-major, 1-based; blank for an empty mask.
    shape : tuple of int
        (H, W).

    Returns
    -------
    bool array, shape (H, W)
        The object's pixels.

    Raises
    ------
    DataError
        If the code breaks a rule; every rule it breaks is named.

    Examples
    --------
    >>> decode_mask("3 3", (3, 2)).astype(int)
    array([[0, 1],
           [0, 1],
           [1, 0]])
    """
    return paint_column_runs(*_read([rle], shape), shape)[0] > 0


def encode(labels: ArrayLike) -> list[str]:
    """Write every instance as a run-length code.

    Parameters
    ----------
    labels : integer array, shape (H, W)
        Instances, 0 is background.

    Returns
    -------
    list of str
        One code per id that is present, in ascending order of ids; an empty list for an image without instances.

    Examples
    --------
    >>> import numpy as np
    >>> encode(np.array([[1, 1, 5]]))
    ['1 2', '3 1']
    """
    checked = to_labels(labels)
    runs, firsts, ids = find_column_runs(checked)
    if ids.size and ids[0] < 0:
        refuse_ids(checked)
    return _write(runs, firsts, checked.size)


def decode(rles: Sequence[str], shape: Shape) -> Labels:
    """Read instances from their run-length codes; where they overlap, the smaller one wins.

    Parameters
    ----------
    rles : sequence of str
        One code per instance.
    shape : tuple of int
        (H, W).

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n in the order of the codes, without gaps; one that is left without a pixel has no id.

    Raises
    ------
    DataError
        If a code breaks a rule.

    Examples
    --------
    >>> decode(["1 3", "3 1"], (1, 4))
    array([[1, 1, 2, 0]], dtype=int32)
    """
    return decode_and_count(rles, shape)[0]


def decode_and_count(rles: Sequence[str], shape: Shape) -> tuple[Labels, int]:
    """Read instances as `decode` does, and count the pixels that more than one of them claims."""
    return paint_column_runs(*_read(rles, shape), shape)


def find_invalid_rles(rles: Sequence[str], sizes_px: Sequence[int]) -> dict[int, list[str]]:
    """Find the codes that break a rule: by the index of each, the sentences of `describe_faults`.

    `sizes_px` are the pixels of each code's image. Fast if most codes are valid.
    """
    by_size: dict[int, list[int]] = {}
    for index, n_px in enumerate(sizes_px):
        by_size.setdefault(n_px, []).append(index)
    suspects = [
        index
        for n_px, group in by_size.items()
        if _read_plain([rles[index] for index in group], n_px) is None
        for index in group
    ]
    faults = {index: describe_faults(rles[index], sizes_px[index]) for index in sorted(suspects)}
    return {index: sentences for index, sentences in faults.items() if sentences}


def describe_faults(rle: str, n_px: int) -> list[str]:
    """List the rules that a run-length code breaks, a sentence each; adjacent runs that could be one are no fault.

    >>> describe_faults("1 2 2 9", n_px=9)
    ["run '2 9' ends past the last pixel, 9", "run '2 9' overlaps the previous run"]
    """
    tokens = rle.split()
    unreadable = [token for token in tokens if not _INTEGER.fullmatch(token)]
    if unreadable:
        return [f"{_shorten(unreadable[0])!r} is not an integer of at most 18 digits"]
    if len(tokens) % 2:
        return [f"{len(tokens)} numbers don't make pairs of start and length"]
    return _find_run_faults(np.array([int(token) for token in tokens], dtype=np.int64).reshape(-1, 2), n_px)


def _find_run_faults(pairs: Runs, n_px: int) -> list[str]:
    """Name the first run that breaks each rule; `pairs` are 1-based starts and lengths."""
    starts, lengths = pairs.T
    behind = starts[1:] < starts[:-1]
    rules = (
        (starts < 1, "starts before the first pixel, 1"),
        (lengths < 1, "has no length"),
        (starts + lengths - 1 > n_px, f"ends past the last pixel, {n_px}"),
        (np.append(False, behind), "is not sorted: it starts before the previous run"),
        (np.append(False, ~behind & (starts[1:] < starts[:-1] + lengths[:-1])), "overlaps the previous run"),
    )
    return [f"run '{' '.join(map(str, pairs[broken][0]))}' {what}" for broken, what in rules if broken.any()]


def _read(rles: Sequence[str], shape: Shape) -> tuple[Runs, Firsts]:
    """Read the runs of all codes, 0-based, or raise."""
    n_y, n_x = check_shape(shape)
    if (found := _read_plain(rles, n_y * n_x)) is not None:
        return found
    for rle in rles:
        if not isinstance(rle, str):
            raise DataError(f"run-length code {rle!r} is {type(rle).__name__}; expected text, such as '1 3' or ''")
        if faults := describe_faults(rle, n_y * n_x):
            message = f"run-length code {_shorten(rle)!r} for an image of {n_y} × {n_x} pixels: {'; '.join(faults)}"
            raise DataError(message)
    found = _read_plain([" ".join(str(int(token)) for token in rle.split()) for rle in rles], n_y * n_x)
    assert found is not None, "without signs and other white space, sound codes are plain"
    return found


def _read_plain(rles: Sequence[str], n_px: int) -> tuple[Runs, Firsts] | None:
    """Read codes of only digits and spaces, or return None if they are others or break a rule."""
    try:
        text = np.frombuffer("\n".join([*rles, ""]).encode("ascii"), dtype=np.uint8)
    except (TypeError, UnicodeEncodeError):
        return None
    runs, firsts = np.empty((len(text) // 4, 2), dtype=np.int64), np.empty(len(rles) + 1, dtype=np.int64)
    n_runs = read_rle_text(text, n_px, runs, firsts)
    return None if n_runs == UNREADABLE else (runs[:n_runs], firsts)


def _write(runs: Runs, firsts: Firsts, n_px: int) -> list[str]:
    """Write 0-based runs as 1-based codes."""
    text = np.empty(len(runs) * 2 * (len(str(n_px)) + 1), dtype=np.uint8)
    first = write_rle_text(runs, firsts, text)
    return str(text[first:-1].data, "ascii").split("\n") if len(text) else []


def _shorten(text: str, length: int = 40) -> str:
    """Cut a text that is too long for a message."""
    return text if len(text) <= length else f"{text[:length]}…"
