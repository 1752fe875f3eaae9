"""Whether one tile goes on in another: every edge compared with every edge it may have been cut from."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.types import Image

Matrix = NDArray[np.float32]

RIGHT, DOWN = (0, 1), (1, 0)
# Lines of pixels along each edge that are compared.
STRIP_PX = 4
# Measured on DSB2018's stage1_train: seams within assembled pictures have a misfit of 0.9 +- 0.3 and a jump under 0.4,
# while 99 of 100 pairs of dark tiles miss one of the limits. Above SURE_LIKENESS a change of brightness between tiles
# is forgiven.
MAX_MISFIT = 2.0
MAX_JUMP = 0.7
SURE_LIKENESS = 10.0
# Pairs of lines that are sorted at a time, to bound the memory.
CHUNK = 50_000


class Edges(NamedTuple):
    """What is compared of a tile: lines along its edges, from the edge inwards."""

    shape: tuple[int, int]
    right: Matrix
    left: Matrix
    bottom: Matrix
    top: Matrix


def cut_edges(image: Image) -> Edges:
    """Cut from an image what is compared of it."""
    n_y, n_x = image.shape[:2]
    columns, rows = image.swapaxes(0, 1), image
    right, left, bottom, top = (
        (lines if lines.ndim == 2 else lines.mean(axis=2)).astype(np.float32)
        for side in (columns, rows)
        for lines in (side[: -STRIP_PX - 1 : -1], side[:STRIP_PX])
    )
    return Edges((n_y, n_x), right, left, bottom, top)


class Seams(NamedTuple):
    """All pairs of tiles along one direction; rows are the left or upper tile, columns the right or lower one."""

    fits: NDArray[np.bool_]
    proposes: NDArray[np.bool_]
    likeness: Matrix


def compare_edges(tiles: Sequence[Edges]) -> dict[tuple[int, int], Seams]:
    """Compare every tile with every other, side by side and one above the other."""
    return {
        RIGHT: _compare(np.stack([tile.right for tile in tiles]), np.stack([tile.left for tile in tiles])),
        DOWN: _compare(np.stack([tile.bottom for tile in tiles]), np.stack([tile.top for tile in tiles])),
    }


def _compare(ends: Matrix, starts: Matrix) -> Seams:
    """Judge the seam of each end with each start; both (n, STRIP_PX, length of the edge)."""
    likeness = _likeness(ends[:, 0], starts[:, 0])
    # Four lines together show the pattern of faint rows that one line hides in noise; they count half.
    likeness += 0.5 * np.clip(_likeness(ends.mean(axis=1), starts.mean(axis=1)), -2, 6)
    misfit = _misfit(ends, starts) / MAX_MISFIT
    jump = np.full_like(misfit, np.inf)
    jump[misfit < 1] = _jump(ends, starts, np.argwhere(misfit < 1)) / MAX_JUMP
    is_sure = (likeness > SURE_LIKENESS) & (misfit < 1)
    fits = is_sure | ((misfit < 1) & (jump < 1))
    proposes = is_sure | (np.hypot(misfit, jump) < 0.9)
    np.fill_diagonal(proposes, False)
    return Seams(fits, proposes, likeness)


def _misfit(ends: Matrix, starts: Matrix) -> Matrix:
    """Mean squared step over the seam, as a multiple of the steps from line to line beside it."""
    steps = [np.square(side[:, 0] - side[:, 1]).mean(axis=1) for side in (ends, starts)]
    a, b = ends[:, 0], starts[:, 0]
    across = np.square(a).mean(axis=1)[:, None] + np.square(b).mean(axis=1) - 2 * (a @ b.T) / a.shape[1]
    # The half is the noise of rounding to whole gray levels.
    return np.asarray(across / (0.5 * (steps[0][:, None] + steps[1]) + 0.5), dtype=np.float32)


def _jump(ends: Matrix, starts: Matrix, pairs: NDArray[np.intp]) -> Matrix:
    """Step of the background's brightness over the seams of some pairs, as a multiple of the usual step beside them."""
    usual_end, usual_start = (_central_mean(np.abs(side[:, 0] - side[:, 1])) for side in (ends, starts))
    steps = [
        _central_mean(ends[some[:, 0], 0] - starts[some[:, 1], 0])
        for some in np.array_split(pairs, len(pairs) // CHUNK + 1)
    ]
    usual = 0.5 * (usual_end[pairs[:, 0]] + usual_start[pairs[:, 1]])
    return np.asarray(np.abs(np.concatenate(steps)) / (usual + 0.3), dtype=np.float32)


def _central_mean(lines: Matrix) -> Matrix:
    """Mean of the middle half of each line's sorted values: of the background, without the objects."""
    length = lines.shape[1]
    return np.asarray(np.sort(lines, axis=1)[:, length // 4 : length - length // 4].mean(axis=1), dtype=np.float32)


def _likeness(a: Matrix, b: Matrix) -> Matrix:
    """Correlation of fine structure along the edges, in standard deviations of what chance gives (Fisher's z).

    Neighbouring pixels are alike, so a line is worth fewer independent values than it has pixels: Bartlett's formula.
    """
    a, b = (_fine_structure(lines) for lines in (a, b))
    repeats = 1 + 2 * _autocorrelation(a) @ _autocorrelation(b).T
    independent = np.clip(a.shape[1] / repeats, 4, a.shape[1])
    correlation = np.clip(a @ b.T / a.shape[1], -0.999, 0.999)
    return np.asarray(np.arctanh(correlation) * np.sqrt(independent - 3), dtype=np.float32)


def _autocorrelation(lines: Matrix) -> Matrix:
    """Correlation of each line with itself, shifted by 1, 2, … 12 pixels."""
    shifts = range(1, min(13, lines.shape[1]))
    products = [(lines[:, shift:] * lines[:, :-shift]).sum(axis=1) for shift in shifts]
    return np.asarray(np.stack(products, axis=1) / lines.shape[1], dtype=np.float32)


def _fine_structure(lines: Matrix) -> Matrix:
    """Logarithm of each line without its slow course, with mean 0 and standard deviation 1 (0 if it is constant)."""
    logs = np.log1p(lines)
    fine = logs - cv2.GaussianBlur(logs, (25, 1), 3, borderType=cv2.BORDER_REFLECT)
    fine -= fine.mean(axis=1, keepdims=True)
    return np.asarray(fine / (fine.std(axis=1, keepdims=True) + 1e-6), dtype=np.float32)
