"""Copy-paste augmentation: nuclei copied onto free background, in the image and in its labels.

Copies come from another crop of the same image, so that light, stain, size and sharpness match. Half of them are moved
next to an existing nucleus, because networks see too few borders between neighbours. A copy keeps its soft edge and is
brightened or darkened to match the new background. Only nuclei that touch no other are copied: the straight edge
between two would show.
"""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from kaggle_unet.data.intensity import to_levels
from kaggle_unet.types import Image, Labels, Mask

_RIM_PX = 2
_LOOKS = 3  # for each copy; in dense images most nuclei touch another
_LEAST_AREA_PX = 16  # scraps that an edge or the nearest-neighbour rule leaves of a nucleus are smaller
_LARGEST = 0.5  # of the crop's side
_TRIES = 8
_MAX_GAP_PX = 3
_LEAST_BACKGROUND_PX = 8
Box = tuple[slice, slice]
Nucleus = tuple[Image, Mask, NDArray[np.float32], Mask]  # its pixels, which are its own, their opacity, background


def copy_paste(
    image: Image,
    labels: NDArray[Any],
    donor: tuple[Image, NDArray[Any]],
    rng: np.random.Generator,
    *,
    n: int,
    ignore: Mask | None = None,
) -> tuple[Image, Labels]:
    """Copy up to n nuclei from a donor crop (image and labels) onto free background of a crop.

    Return a new image and int32 labels, with new ids above all others; pixels of instances and of `ignore` are
    unchanged. A nucleus is copied only if it lies whole in the donor, with a rim of 2 px, touches no other, spans at
    most half of the donor either way and has at least 16 px. The same nucleus may be copied more than once, turned and
    mirrored at random.
    """
    image, labels = image.copy(), labels.astype(np.int32)
    is_taken = labels > 0 if ignore is None else (labels > 0) | ignore
    last = int(labels.max(initial=0)) + n
    for nucleus in itertools.islice(_draw_nuclei(*donor, rng, most=_LOOKS * n), n):
        _, mask, _, _ = nucleus
        corner = _slide(mask, is_taken, rng) if rng.random() < 0.5 else _drop(mask, is_taken, rng)
        if corner is not None:
            inside = tuple(slice(start, start + side) for start, side in zip(corner, mask.shape, strict=True))
            _blend(image[inside], is_taken[inside], nucleus)
            labels[inside][mask], last = last, last - 1
            is_taken[inside] |= mask
    return image, labels


def _draw_nuclei(image: Image, labels: NDArray[Any], rng: np.random.Generator, *, most: int) -> Iterator[Nucleus]:
    """Draw some instances, and yield those that can be copied."""
    whole = _find_whole(labels)
    for _ in range(most if whole else 0):
        id_, box = whole[rng.integers(len(whole))]
        symmetry = int(rng.integers(8))
        nucleus = _cut_out(_turn(image[box], symmetry), _turn(labels[box], symmetry), id_)
        if nucleus is not None:
            yield nucleus


def _find_whole(labels: NDArray[Any]) -> list[tuple[int, Box]]:
    """List the instances that lie entirely inside a crop, with the boxes around them and their rims."""
    found = []
    for id_, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        starts, stops = [side.start - _RIM_PX for side in box], [side.stop + _RIM_PX for side in box]
        is_small = all(b - a <= _LARGEST * n for a, b, n in zip(starts, stops, labels.shape, strict=True))
        if is_small and min(starts) >= 0 and all(b <= n for b, n in zip(stops, labels.shape, strict=True)):
            found.append((id_, (slice(starts[0], stops[0]), slice(starts[1], stops[1]))))
    return found


def _cut_out(image: Image, labels: NDArray[Any], id_: int) -> Nucleus | None:
    """Cut an instance out, if it is large enough and touches no other."""
    mask, is_background = labels == id_, labels == 0
    grown = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8))
    touches = (grown.view(np.bool_) & ~mask & ~is_background).any()
    if touches or np.count_nonzero(mask) < _LEAST_AREA_PX:
        return None
    fade = np.asarray(cv2.blur(grown.astype(np.float32), (3, 3), borderType=cv2.BORDER_CONSTANT), np.float32)
    fade[mask] = 1
    fade[~mask & ~is_background] = 0
    return image, mask, fade, is_background


def _turn(array: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """Apply one of the eight symmetries of a square."""
    turned = np.rot90(array, symmetry % 4)
    return np.ascontiguousarray(turned[:, ::-1] if symmetry >= 4 else turned)


def _drop(mask: Mask, is_taken: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
    """Try random places until one is free."""
    rooms = [side - own for side, own in zip(is_taken.shape, mask.shape, strict=True)]
    for y, x in rng.integers(0, np.maximum(rooms, 0) + 1, (_TRIES, 2)).tolist():
        if _is_free(mask, is_taken, (y, x)):
            return y, x
    return None


def _slide(mask: Mask, is_taken: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
    """Start on an instance and move away from it until nothing is covered, and perhaps a little further."""
    taken = np.flatnonzero(is_taken)
    if taken.size == 0:
        return _drop(mask, is_taken, rng)
    y, x = divmod(int(taken[rng.integers(taken.size)]), is_taken.shape[1])
    angle, gap_px = rng.uniform(0, 2 * math.pi), int(rng.integers(_MAX_GAP_PX + 1))
    top, left, down, right = y - mask.shape[0] / 2, x - mask.shape[1] / 2, math.sin(angle), math.cos(angle)
    path = ((round(top + step * down), round(left + step * right)) for step in range(2 * sum(mask.shape)))
    is_free = partial(_is_free, mask, is_taken)
    beyond = itertools.dropwhile(lambda corner: not is_free(corner), path)
    free = list(itertools.takewhile(is_free, itertools.islice(beyond, gap_px + 1)))
    return free[-1] if free else None


def _is_free(mask: Mask, is_taken: Mask, corner: tuple[int, int]) -> bool:
    (y, x), (height, width) = corner, mask.shape
    if y < 0 or x < 0 or y + height > is_taken.shape[0] or x + width > is_taken.shape[1]:
        return False
    return not (is_taken[y : y + height, x : x + width] & mask).any()


def _blend(image: Image, is_taken: Mask, nucleus: Nucleus) -> None:
    """Blend a nucleus into a part of an image, in place."""
    pixels, mask, fade, there = nucleus
    here = ~is_taken & ~mask
    shift: Any = 0.0
    if min(np.count_nonzero(here), np.count_nonzero(there)) >= _LEAST_BACKGROUND_PX:
        shift = np.median(image[here], axis=0) - np.median(pixels[there], axis=0)
    fade = np.where(is_taken, np.float32(0), fade)
    fade = fade if image.ndim == 2 else fade[..., np.newaxis]
    blended = image + fade * (pixels + np.float32(shift) - image)
    image[:] = to_levels(blended, image.dtype)
