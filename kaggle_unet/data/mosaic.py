"""Mosaics: images that are tiles of one picture.

Some collections were cut from larger pictures: nearly all of DSB2018's stage 1, much of TGS. Tiles of one picture share
its cells, light and noise, so folds must not separate them.

Strategy. Two tiles are neighbours where one's last row or column continues in the other's first. Each possible seam
gets three numbers: its *misfit* and its *jump* are small for true neighbours but also between any two dark backgrounds;
its *likeness* is large only where structure crosses the seam. Seams that fit propose to join the pictures their tiles
belong to; joins are accepted, strongest first, if all tiles that become neighbours fit and enough structure crosses
their seams.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.types import Image

Matrix = NDArray[np.float32]

RIGHT, DOWN = (0, 1), (1, 0)
# Number of pixel lines compared along each edge.
STRIP_PX = 4
# Measured on DSB2018's stage1_train: seams within assembled pictures have a misfit of 0.9 +- 0.3 and a jump under 0.4,
# while 99 of 100 pairs of dark tiles exceed one of the limits. Above SURE_LIKENESS, a change of brightness between
# tiles is forgiven.
MAX_MISFIT = 2.0
MAX_JUMP = 0.7
SURE_LIKENESS = 10.0
# Pairs of lines sorted at a time, to bound the memory.
CHUNK = 50_000


class Edges(NamedTuple):
    """The lines of pixels along a tile's edges, from the edge inwards."""

    shape: tuple[int, int]
    right: Matrix
    left: Matrix
    bottom: Matrix
    top: Matrix
    dtype: str


def cut_edges(image: Image) -> Edges:
    """Cut the lines along an image's edges."""
    n_y, n_x = image.shape[:2]
    columns, rows = image.swapaxes(0, 1), image
    right, left, bottom, top = (
        (lines if lines.ndim == 2 else lines.mean(axis=2)).astype(np.float32)
        for side in (columns, rows)
        for lines in (side[: -STRIP_PX - 1 : -1], side[:STRIP_PX])
    )
    return Edges((n_y, n_x), right, left, bottom, top, str(image.dtype))


class Seams(NamedTuple):
    """All pairs of tiles along one direction; rows stand for the left or upper tile, columns for the other."""

    fits: NDArray[np.bool_]
    is_candidate: NDArray[np.bool_]
    likeness: Matrix


def _compare(ends: Matrix, starts: Matrix) -> Seams:
    """Measure the seam of each end with each start; both (n, STRIP_PX, length of the edge)."""
    likeness = _likeness(ends[:, 0], starts[:, 0])
    # Four lines together show the pattern of faint rows that one line hides in noise; they count half.
    likeness += 0.5 * np.clip(_likeness(ends.mean(axis=1), starts.mean(axis=1)), -2, 6)
    misfit = _misfit(ends, starts) / MAX_MISFIT
    jump = np.full_like(misfit, np.inf)
    jump[misfit < 1] = _jump(ends, starts, np.argwhere(misfit < 1)) / MAX_JUMP
    is_sure = (likeness > SURE_LIKENESS) & (misfit < 1)
    fits = is_sure | ((misfit < 1) & (jump < 1))
    is_candidate = is_sure | (np.hypot(misfit, jump) < 0.9)
    np.fill_diagonal(is_candidate, False)
    return Seams(fits, is_candidate, likeness)


def _misfit(ends: Matrix, starts: Matrix) -> Matrix:
    """Compute the mean squared step over the seam, as a multiple of the steps from line to line beside it."""
    steps = [np.square(side[:, 0] - side[:, 1]).mean(axis=1) for side in (ends, starts)]
    a, b = ends[:, 0], starts[:, 0]
    across = np.square(a).mean(axis=1)[:, None] + np.square(b).mean(axis=1) - 2 * (a @ b.T) / a.shape[1]
    # The 0.5 added is the noise of rounding to whole gray levels.
    return np.asarray(across / (0.5 * (steps[0][:, None] + steps[1]) + 0.5), dtype=np.float32)


def _jump(ends: Matrix, starts: Matrix, pairs: NDArray[np.intp]) -> Matrix:
    """Compute the step in background brightness over the seams of some pairs, as a multiple of that beside them."""
    usual_end, usual_start = (_central_mean(np.abs(side[:, 0] - side[:, 1])) for side in (ends, starts))
    steps = [
        _central_mean(ends[some[:, 0], 0] - starts[some[:, 1], 0])
        for some in np.array_split(pairs, len(pairs) // CHUNK + 1)
    ]
    usual = 0.5 * (usual_end[pairs[:, 0]] + usual_start[pairs[:, 1]])
    return np.asarray(np.abs(np.concatenate(steps)) / (usual + 0.3), dtype=np.float32)


def _central_mean(lines: Matrix) -> Matrix:
    """Return the mean of the middle half of each line's sorted values: of the background, without the objects."""
    length = lines.shape[1]
    return np.asarray(np.sort(lines, axis=1)[:, length // 4 : length - length // 4].mean(axis=1), dtype=np.float32)


def _likeness(a: Matrix, b: Matrix) -> Matrix:
    """Correlate the fine structure along edges, in standard deviations of what chance gives (Fisher's z).

    Neighbouring pixels are alike, so a line has fewer independent values than pixels: Bartlett's formula.
    """
    a, b = (_fine_structure(lines) for lines in (a, b))
    repeats = 1 + 2 * _autocorrelation(a) @ _autocorrelation(b).T
    independent = np.clip(a.shape[1] / repeats, 4, a.shape[1])
    correlation = np.clip(a @ b.T / a.shape[1], -0.999, 0.999)
    return np.asarray(np.arctanh(correlation) * np.sqrt(independent - 3), dtype=np.float32)


def _autocorrelation(lines: Matrix) -> Matrix:
    """Correlate each line with itself, shifted by 1, 2, … 12 pixels."""
    shifts = range(1, min(13, lines.shape[1]))
    products = [(lines[:, shift:] * lines[:, :-shift]).sum(axis=1) for shift in shifts]
    return np.asarray(np.stack(products, axis=1) / lines.shape[1], dtype=np.float32)


def _fine_structure(lines: Matrix) -> Matrix:
    """Return each line's logarithm without its low-frequency trend, of mean 0 and standard deviation 1 (or 0)."""
    logs = np.log1p(lines)
    fine = logs - cv2.GaussianBlur(logs, (25, 1), 3, borderType=cv2.BORDER_REFLECT)
    fine -= fine.mean(axis=1, keepdims=True)
    return np.asarray(fine / (fine.std(axis=1, keepdims=True) + 1e-6), dtype=np.float32)


Picture = dict[tuple[int, int], int]

# Among single tiles of each picture of DSB2018's stage1_train, where nothing is to be found, no join is as strong.
MIN_LIKENESS = 4.5


def join_mosaics(edges: Mapping[str, Edges]) -> dict[str, str]:
    """Name the picture of each image that is a tile of one, by id, from the edges that `cut_edges` returns.

    All pairs of images of equal size and type are compared, so time and memory grow with the square of their number.
    A tile whose seams show nothing but background is not found, and TGS's tiles, whose brightness was changed one by
    one, are hardly ever found. DSB2018's stage1_train holds 140 pictures of 2 to 12 tiles; 537 of its 664 images belong
    to one.

    >>> rng = np.random.default_rng(0)
    >>> picture = np.cumsum(np.cumsum(rng.normal(0, 1, (64, 64)), axis=0), axis=1)
    >>> picture = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
    >>> tiles = {"left": picture[:, :32], "right": picture[:, 32:], "other": picture[::-1, :32].T}
    >>> join_mosaics({id_: cut_edges(tile) for id_, tile in tiles.items()})
    {'left': 'mosaic-left', 'right': 'mosaic-left'}
    """
    return {id_: f"mosaic-{min(layout.values())}" for layout in find_layouts(edges) for id_ in sorted(layout.values())}


def find_layouts(edges: Mapping[str, Edges]) -> list[dict[tuple[int, int], str]]:
    """Find the pictures that were cut into tiles, each as the ids of the tiles by row and column."""
    alike: dict[tuple[tuple[int, int], str], list[str]] = defaultdict(list)
    for id_ in sorted(edges):
        alike[edges[id_].shape, edges[id_].dtype].append(id_)
    layouts = []
    for (shape, dtype), ids in alike.items():
        if len(ids) > 1 and min(shape) >= 2 * STRIP_PX:
            sides = [np.stack(side) for side in zip(*(edges[id_][1:5] for id_ in ids), strict=True)]
            if dtype != "uint8":  # the limits are in 8-bit gray levels; a hot pixel or bright image sets no scale
                low = np.min([side.min(axis=(1, 2)) for side in sides], axis=0)
                spread = np.median(np.max([side.max(axis=(1, 2)) for side in sides], axis=0) - low)
                sides = [(side - low.min()) * np.float32(255 / (spread or 1)) for side in sides]
            right, left, bottom, top = sides
            seams = {RIGHT: _compare(right, left), DOWN: _compare(bottom, top)}
            for picture in _assemble(seams, len(ids)):
                first_y, first_x = (min(place[k] for place in picture) for k in (0, 1))
                layouts.append({(y - first_y, x - first_x): ids[picture[y, x]] for y, x in sorted(picture)})
    return sorted(layouts, key=lambda layout: min(layout.values()))


def _assemble(seams: Mapping[tuple[int, int], Seams], n: int) -> list[Picture]:
    """Join tiles into pictures, strongest joins first, until no join is left; return those of two tiles or more."""
    proposals = [(direction, a, b) for direction, side in seams.items() for a, b in _mutual_best_pairs(side)]
    pictures: list[Picture] = [{(0, 0): tile} for tile in range(n)]
    while True:
        joins = sorted(_judge(proposals, pictures, seams), key=lambda join: -join[0])
        changed: set[int] = set()
        for _, first, second, joined in joins:
            if not {first, second} & changed:
                changed |= {first, second}
                pictures[first], pictures[second] = joined, {}
        if not changed:
            return [picture for picture in pictures if len(picture) > 1]


def _mutual_best_pairs(seams: Seams) -> Iterator[tuple[int, int]]:
    """Yield the pairs of tiles that are each other's most similar partner among the candidates."""
    likeness = np.where(seams.is_candidate, seams.likeness, 0)
    best = (likeness == likeness.max(axis=1, keepdims=True)) & (likeness == likeness.max(axis=0, keepdims=True))
    for a, b in np.argwhere(best & (likeness > 0)):
        yield int(a), int(b)


def _judge(
    proposals: list[tuple[tuple[int, int], int, int]], pictures: list[Picture], seams: Mapping[tuple[int, int], Seams]
) -> Iterator[tuple[float, int, int, Picture]]:
    """Yield the acceptable joins: their strength, the two pictures, and the picture they become."""
    where = {tile: (i, place) for i, picture in enumerate(pictures) for place, tile in picture.items()}
    for direction, a, b in proposals:
        (first, place_a), (second, place_b) = where[a], where[b]
        if first == second:
            continue
        dy, dx = (place_a[k] + direction[k] - place_b[k] for k in (0, 1))
        moved = {(y + dy, x + dx): tile for (y, x), tile in pictures[second].items()}
        if moved.keys() & pictures[first].keys():
            continue
        strength = _strength(pictures[first], moved, seams)
        if strength >= MIN_LIKENESS:
            yield strength, first, second, pictures[first] | moved


def _strength(first: Picture, second: Picture, seams: Mapping[tuple[int, int], Seams]) -> float:
    """Return the structure that crosses all seams between two pictures, or 0 if any of these seams does not fit."""
    strength = 0.0
    for near, far in ((first, second), (second, first)):
        for (y, x), tile in near.items():
            for direction, side in seams.items():
                neighbour = far.get((y + direction[0], x + direction[1]))
                if neighbour is None:
                    continue
                if not side.fits[tile, neighbour]:
                    return 0.0
                strength += max(0.0, float(side.likeness[tile, neighbour]))
    return strength
