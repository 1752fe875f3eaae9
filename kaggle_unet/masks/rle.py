"""Run-length codes as Kaggle writes them: ``"start length start length …"``.

Pixels are numbered from 1, down the first column, then down the next (column-major, not the order of numpy or PNG).
Runs are sorted and do not share pixels. An empty mask is the empty text.
"""

import re
from collections.abc import Sequence

import numpy as np

from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import relabel
from kaggle_unet.masks.runs import Runs, merge_runs, runs_of_mask, split_runs
from kaggle_unet.types import Labels, Mask

# Eighteen digits always fit 64 bits, also as the sum of a start and a length.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def encode_mask(mask: Mask) -> str:
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
    return _write(runs_of_mask(mask))


def decode_mask(rle: str, shape: tuple[int, int]) -> Mask:
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
    labels, _ = merge_runs([_read(rle, shape)], shape)
    return labels > 0


def encode_labels(labels: Labels) -> list[str]:
    """Write every instance as a run-length code.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.

    Returns
    -------
    list of str
        One code per id that is present, in ascending order of ids; no entry for an image without instances.

    Examples
    --------
    >>> import numpy as np
    >>> encode_labels(np.array([[1, 1, 5]], dtype=np.int32))
    ['1 2', '3 1']
    """
    return [_write(runs) for runs in split_runs(labels)[1]]


def decode_labels(rles: Sequence[str], shape: tuple[int, int]) -> tuple[Labels, int]:
    """Read instances from their run-length codes; where they overlap, the smaller one wins.

    Parameters
    ----------
    rles : sequence of str
        One code per instance.
    shape : tuple of int
        (H, W).

    Returns
    -------
    labels : int32 array, shape (H, W)
        Instances 1…n in the order of the codes, without gaps; one that is left without a pixel has no id.
    n_contested : int
        Pixels claimed by more than one instance.

    Raises
    ------
    DataError
        If a code breaks a rule.

    See Also
    --------
    kaggle_unet.masks.labels.paint_masks : The same rule for overlaps, for masks.

    Examples
    --------
    >>> decode_labels(["1 3", "3 1"], (1, 4))
    (array([[1, 1, 2, 0]], dtype=int32), 1)
    """
    painted, n_contested = merge_runs([_read(rle, shape) for rle in rles], shape)
    return relabel(painted), n_contested


def find_faults(rle: str, n_px: int) -> list[str]:
    """List the rules that a run-length code breaks.

    Parameters
    ----------
    rle : str
        ``"start length …"``, 1-based.
    n_px : int
        Pixels of the image.

    Returns
    -------
    list of str
        One sentence per broken rule; empty for a sound code. Adjacent runs that could be one are no fault.

    Examples
    --------
    >>> find_faults("1 2 2 9", n_px=9)
    ["run '2 9' ends past the last pixel, 9", "run '2 9' overlaps the run ahead of it"]
    """
    tokens = rle.split()
    odd = [token for token in tokens if not _INTEGER.fullmatch(token)]
    if odd:
        return [f"{_shorten(odd[0])!r} is not an integer of at most 18 digits"]
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
        (np.append(False, behind), "is not sorted: it starts before the run ahead of it"),
        (np.append(False, ~behind & (starts[1:] < starts[:-1] + lengths[:-1])), "overlaps the run ahead of it"),
    )
    return [f"run '{' '.join(map(str, pairs[broken][0]))}' {what}" for broken, what in rules if broken.any()]


def _read(rle: str, shape: tuple[int, int]) -> Runs:
    """Read a code's runs, 0-based, or raise."""
    n_y, n_x = shape
    faults = find_faults(rle, n_y * n_x)
    if faults:
        message = f"run-length code {_shorten(rle)!r} for an image of {n_y} × {n_x} pixels: {'; '.join(faults)}"
        raise DataError(message)
    runs = np.array(rle.split(), dtype=np.int64).reshape(-1, 2)
    runs[:, 0] -= 1
    return runs


def _write(runs: Runs) -> str:
    """Write 0-based runs as a 1-based code."""
    return " ".join(map(str, (runs + np.array([1, 0])).ravel().tolist()))


def _shorten(text: str, length: int = 40) -> str:
    """Cut a text that is too long for a message."""
    return text if len(text) <= length else f"{text[:length]}…"
