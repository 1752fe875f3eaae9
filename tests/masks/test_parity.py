"""Our codes, read by COCO's own tools."""

import numpy as np
import pytest
from hypothesis import given, settings

from kaggle_unet.masks.rle import encode, encode_mask
from tests import realdata, strategies

pytestmark = [
    pytest.mark.rivals,
    # pycocotools 2.0.11 under numpy 2: https://numpy.org/doc/stable/numpy_2_0_migration_guide.html
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def coco():
    return pytest.importorskip("pycocotools.mask")


def to_coco(coco, rle, shape):
    """Say the same as COCO does: runs of 0 and of 1 in turn, the first of 0; then packed by COCO itself."""
    starts, lengths = np.array(rle.split(), dtype=np.int64).reshape(-1, 2).T
    edges = np.stack([starts - 1, starts - 1 + lengths], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=shape[0] * shape[1])
    return coco.frPyObjects({"counts": counts[: counts.size - (counts[-1] == 0)].tolist(), "size": list(shape)}, *shape)


def check_labels(coco, labels):
    """Have COCO paint our codes one by one, and make sure that they give the labels and share no pixel."""
    ids = np.unique(labels[labels > 0])
    packed = [to_coco(coco, rle, labels.shape) for rle in encode(labels)]
    painted = np.zeros_like(labels)
    for label, code in zip(ids, packed, strict=True):
        painted[coco.decode(code) > 0] = label
    assert (painted == labels).all()
    assert sum(int(coco.area(code)) for code in packed) == np.count_nonzero(labels)


@given(strategies.labels(max_side=20))
@settings(max_examples=50, deadline=None)
def test_coco_reads_our_codes_as_the_labels_they_stand_for(coco, labels):
    check_labels(coco, labels)


@given(strategies.masks().filter(np.any))
@settings(max_examples=50, deadline=None)
def test_coco_packs_our_code_of_a_mask_as_it_packs_the_mask(coco, mask):
    assert to_coco(coco, encode_mask(mask), mask.shape) == coco.encode(np.asfortranarray(mask, dtype=np.uint8))


@pytest.mark.realdata
def test_coco_agrees_on_all_nuclei(coco, real_data):
    labels, _, _ = realdata.dsb2018_labels(real_data)
    for of_image in labels.values():
        check_labels(coco, of_image)


@pytest.mark.realdata
def test_coco_agrees_on_all_salt(coco, real_data):
    for rle in filter(None, realdata.tgs_rles(real_data)):
        packed = to_coco(coco, rle, (101, 101))
        assert encode_mask(coco.decode(packed) > 0) == rle
