import cv2
import numpy as np
import pytest

from kaggle_unet.data.copy_paste import copy_paste


def cells(*middles, side=100, radius=7):
    """Discs of soft edges, 150 gray levels bright, on a background of noise about 40."""
    labels = np.zeros((side, side), np.int32)
    for i, (y, x) in enumerate(middles, start=1):
        cv2.circle(labels, (x, y), radius, i, -1)
    soft = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 1)
    noise = np.random.default_rng(0).normal(0, 3, labels.shape)
    return np.clip(40 + 150 * soft + noise, 0, 255).astype(np.uint8), labels


SPARSE = cells((20, 20), (70, 60))


def pasted(host, donor, seed=0, **options):
    return copy_paste(*host, donor, np.random.default_rng(seed), **{"n": 5, **options})


@pytest.mark.parametrize("colours", [False, True])
def test_what_was_there_is_not_covered(colours):
    image, labels = SPARSE
    image = np.dstack([image, image // 2, image // 4]) if colours else image
    for seed in range(10):
        new_image, ids = pasted((image, labels), (image, labels), seed)
        assert (ids[labels > 0] == labels[labels > 0]).all()
        assert (new_image[labels > 0] == image[labels > 0]).all()
        assert new_image.shape == image.shape


def test_as_many_as_asked_appear_each_with_its_whole_area():
    area = (SPARSE[1] == 1).sum()
    for n in (1, 3, 5):
        _, ids = pasted(SPARSE, SPARSE, n=n)
        new, areas = np.unique(ids[ids > 2], return_counts=True)
        assert len(new) == n
        assert (areas == area).all()


def test_an_id_of_sixteen_bits_does_not_run_over():
    image, labels = SPARSE
    _, ids = pasted((image, np.where(labels == 2, 65535, labels).astype(np.uint16)), SPARSE)
    assert len(np.unique(ids)) == 1 + 2 + 5
    assert ids.max() > 65535


def test_nothing_given_is_changed():
    image, labels = SPARSE[0].copy(), SPARSE[1].copy()
    pasted((image, labels), (image, labels))
    assert (image == SPARSE[0]).all()
    assert (labels == SPARSE[1]).all()


def test_the_same_seed_pastes_the_same_and_others_paste_others():
    results = [pasted(SPARSE, SPARSE, seed)[0].tobytes() for seed in (1, 1, 2, 3)]
    assert results[0] == results[1]
    assert len(set(results)) == 3


def test_copies_are_as_bright_as_the_original_above_the_new_background():
    image, labels = SPARSE
    darker = (np.clip(image.astype(int) - 25, 0, 255)).astype(np.uint8)
    blank = np.full((100, 100), 100, np.uint8), np.zeros((100, 100), np.int32)
    for donor in (image, darker):
        new_image, ids = pasted(blank, (donor, labels))
        inside = cv2.erode((ids > 0).astype(np.uint8), np.ones((5, 5))) > 0
        assert np.median(new_image[inside]) == pytest.approx(100 + 150, abs=6)


def test_there_is_no_seam():
    blank = np.full((100, 100), 40, np.uint8), np.zeros((100, 100), np.int32)
    image, ids = pasted(blank, SPARSE, n=1)
    steepest, expected = (abs(np.diff(x.astype(int), axis=0)).max() for x in (image, SPARSE[0]))
    assert steepest < 1.2 * expected
    far = cv2.dilate((ids > 0).astype(np.uint8), np.ones((5, 5))) == 0
    assert (image[far] == 40).all()


def test_half_of_the_copies_lie_beside_another_nucleus():
    n_beside, n = 0, 60
    for seed in range(n):
        _, ids = pasted(SPARSE, SPARSE, seed, n=1)
        near = cv2.dilate((ids == ids.max()).astype(np.uint8), np.ones((9, 9))) > 0
        n_beside += bool(set(np.unique(ids[near])) & {1, 2})
    assert n / 3 < n_beside < n * 5 / 6


def test_some_copies_touch_another_nucleus():
    n_touching = 0
    for seed in range(40):
        _, ids = pasted(SPARSE, SPARSE, seed, n=1)
        near = cv2.dilate((ids == ids.max()).astype(np.uint8), np.ones((3, 3))) > 0
        n_touching += bool(set(np.unique(ids[near])) & {1, 2})
    assert n_touching >= 3


def test_copies_are_turned_and_mirrored():
    image, labels = np.full((60, 60), 10, np.uint8), np.zeros((60, 60), np.int32)
    labels[20:32, 20:24] = labels[28:32, 20:28] = 1  # an L
    image[labels > 0] = 200
    seen = set()
    for seed in range(60):
        _, ids = pasted((image, labels), (image, labels), seed, n=1)
        rows, columns = np.nonzero(ids > 1)
        shape = (ids > 1)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        seen.add((shape.shape, shape.tobytes()))
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (cells((50, 5))[1], "cut by the edge"),
        (cells((50, 50), (50, 60))[1], "touches another"),
        (cells((50, 50), radius=1)[1], "too small"),
        (cells((50, 50), radius=30)[1], "too large"),
        (np.zeros((100, 100), np.int32), "empty"),
    ],
)
def test_what_cannot_be_copied_well_is_not_copied(labels, why):
    image, ids = pasted(SPARSE, (SPARSE[0], labels))
    assert (ids == SPARSE[1]).all(), why
    assert (image == SPARSE[0]).all()


def test_ignored_pixels_are_left_as_they_are():
    ignore = np.zeros((100, 100), bool)
    ignore[:, 40:] = True
    for seed in range(5):
        image, ids = pasted(SPARSE, SPARSE, seed, ignore=ignore)
        assert (ids[ignore] == SPARSE[1][ignore]).all()
        assert (image[ignore] == SPARSE[0][ignore]).all()
        assert ids.max() > 2


def test_a_full_image_stays_as_it_is():
    full = SPARSE[0], np.ones((100, 100), np.int32)
    image, ids = pasted(full, SPARSE)
    assert (ids == 1).all()
    assert (image == SPARSE[0]).all()
