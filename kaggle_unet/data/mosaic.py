"""Which images are tiles of one picture.

Some collections were cut from larger pictures: nearly all of DSB2018's stage 1, much of TGS. Tiles of one picture share
its cells, light and noise, so that folds must not part them.

Strategy. Two tiles are neighbours where one's last row or column goes on in the other's first. Each possible seam gets
three numbers, all pairs of one size at once: its *misfit* and its *jump* are small for true neighbours but also between
any two dark backgrounds; its *likeness* is large only where structure crosses the seam. Seams that fit propose to join
the pictures their tiles belong to; a join is accepted if everything that then lies side by side fits, and if enough
structure crosses. The strongest joins come first, pictures grow to any layout, and tiles without company stay alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from kaggle_unet.data.seams import STRIP_PX, Edges, Seams, compare_edges, cut_edges
from kaggle_unet.types import Image

Picture = dict[tuple[int, int], int]

# Given one tile of each picture of DSB2018's stage1_train, so that nothing is to be found, no join is as strong.
MIN_LIKENESS = 4.5


def find_mosaics(images: Mapping[str, Image]) -> dict[str, str]:
    """Find images that are tiles of one picture.

    Parameters
    ----------
    images : mapping of str to uint8 array, shape (H, W) or (H, W, 3)
        Images by id. Only those of equal size are compared.

    Returns
    -------
    dict of str to str
        The picture's name by image id, only for images that belong to a picture of at least two.

    Notes
    -----
    The result does not depend on the order of `images`. A tile whose seams show nothing but background is not found,
    for nothing proves it. DSB2018's stage1_train holds 140 pictures of 2 to 12 tiles, 88 of them of exactly four; 537
    of its 664 images have company. Tiles whose brightness was changed one by one, as those of TGS, are hardly found.
    Every pair of equal size is compared: time and memory grow with the square of their number.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> picture = np.cumsum(np.cumsum(rng.normal(0, 1, (64, 64)), axis=0), axis=1)
    >>> picture = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
    >>> find_mosaics({"left": picture[:, :32], "right": picture[:, 32:], "other": picture[::-1, :32].T})
    {'left': 'mosaic-left', 'right': 'mosaic-left'}
    """
    return join_mosaics({id_: cut_edges(image) for id_, image in images.items()})


def find_layouts(images: Mapping[str, Image]) -> list[dict[tuple[int, int], str]]:
    """Find pictures that were cut into tiles, and where each tile lies."""
    return _join({id_: cut_edges(image) for id_, image in images.items()})


def join_mosaics(edges: Mapping[str, Edges]) -> dict[str, str]:
    """Find images that are tiles of one picture, by their edges."""
    return {id_: f"mosaic-{min(layout.values())}" for layout in _join(edges) for id_ in sorted(layout.values())}


def _join(edges: Mapping[str, Edges]) -> list[dict[tuple[int, int], str]]:
    by_shape: dict[tuple[int, int], list[str]] = defaultdict(list)
    for id_ in sorted(edges):
        by_shape[edges[id_].shape].append(id_)
    layouts = []
    for shape, ids in by_shape.items():
        if len(ids) > 1 and min(shape) >= 2 * STRIP_PX:
            seams = compare_edges([edges[id_] for id_ in ids])
            layouts += [_name_places(picture, ids) for picture in _assemble(seams, len(ids))]
    return sorted(layouts, key=lambda layout: min(layout.values()))


def _assemble(seams: Mapping[tuple[int, int], Seams], n: int) -> list[Picture]:
    """Join tiles to pictures, the strongest joins first, until no join is left; return those of two tiles or more."""
    proposals = [(direction, a, b) for direction, side in seams.items() for a, b in _best_of_both(side)]
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


def _best_of_both(seams: Seams) -> Iterator[tuple[int, int]]:
    """Yield the pairs of which each is the other's most similar partner among those that propose."""
    likeness = np.where(seams.proposes, seams.likeness, 0)
    best = (likeness == likeness.max(axis=1, keepdims=True)) & (likeness == likeness.max(axis=0, keepdims=True))
    for a, b in np.argwhere(best & (likeness > 0)):
        yield int(a), int(b)


def _judge(
    proposals: list[tuple[tuple[int, int], int, int]],
    pictures: list[Picture],
    seams: Mapping[tuple[int, int], Seams],
) -> Iterator[tuple[float, int, int, Picture]]:
    """Yield the acceptable joins: how strong, which two pictures, and what they become."""
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
    """Structure that crosses all seams between two pictures laid side by side; 0 if any of these seams does not fit."""
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


def _name_places(picture: Picture, ids: list[str]) -> dict[tuple[int, int], str]:
    """Replace tile numbers by ids and count places from 0."""
    top, left = (min(place[k] for place in picture) for k in (0, 1))
    return {(y - top, x - left): ids[picture[y, x]] for y, x in sorted(picture)}
