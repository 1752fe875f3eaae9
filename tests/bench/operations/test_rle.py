"""All run-length codes of a label image, against one numpy pass per mask and against COCO's encoder."""

from functools import partial

import numpy as np
import pycocotools.mask
import pytest

from kaggle_unet.masks.rle import encode
from tests.bench.cases import ALL, describe
from tests.bench.race import Rival

pytestmark = pytest.mark.bench


def encode_each_mask(labels):
    """Write runs as most kernels of the competitions do: mask by mask, from the places where a flat mask changes."""
    rles = []
    for label in range(1, labels.max() + 1):
        pixels = np.concatenate([[0], (labels == label).T.ravel(), [0]])
        runs = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        runs[1::2] -= runs[::2]
        rles.append(" ".join(map(str, runs)))
    return rles


def stack_masks(labels):
    """Make what COCO's encoder takes: a mask per instance, column-major."""
    masks = np.zeros((*labels.shape, int(labels.max())), dtype=np.uint8, order="F")
    for index in range(masks.shape[2]):
        masks[..., index] = labels == index + 1
    return masks


def check_coco(shape, ours, theirs):
    """Compare with our codes in COCO's alphabet: runs of 0 and 1 in turn, packed."""
    for rle, coco in zip(ours, theirs, strict=True):
        starts, lengths = np.array(rle.split(), dtype=np.int64).reshape(-1, 2).T
        edges = np.stack([starts - 1, starts - 1 + lengths], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=shape[0] * shape[1])
        counts = counts if counts[-1] else counts[:-1]
        assert pycocotools.mask.frPyObjects({"counts": counts.tolist(), "size": list(shape)}, *shape) == coco


def check(ours, theirs):
    assert ours == theirs


def check_stack(ours, theirs):
    assert len(ours) == theirs.shape[2]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_rle_encode(race, case, labels):
    work = labels.size * int(labels.max())
    stack = partial(stack_masks, labels)
    rivals = [
        Rival("numpy, mask by mask", partial(encode_each_mask, labels), work, 12 * labels.size, check),
        Rival("conversion: mask stack", stack, work, work, check_stack),
        # the stack is its natural input
        Rival("pycocotools", pycocotools.mask.encode, work, work, partial(check_coco, labels.shape), stack),
    ]

    race(describe("rle-encode", case, labels), partial(encode, labels), rivals)
