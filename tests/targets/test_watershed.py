import numpy as np

from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.targets.watershed import decode_instances, grow_seeds


def plane(*rows):
    return np.array(rows, dtype=np.float32)


def decode(core, border=None, *, inside=None, **settings):
    return decode_instances(
        inside=core if inside is None else inside, core=core, border=border, settings=DecodeSettings(**settings)
    ).tolist()


def test_a_pixel_is_in_the_mask_above_the_threshold_not_at_it():
    assert decode(plane([0.5, 0.6, 0.4])) == [[0, 1, 0]]


def test_a_low_mask_threshold_lets_high_seeds_grow():
    assert decode(plane([0.9, 0.4, 0.1]), mask_threshold=0.3, seed_threshold=0.8) == [[1, 1, 0]]


def test_a_border_at_its_threshold_still_lets_a_seed_be():
    inside = plane([1, 1, 1])

    assert decode(inside, plane([0, 0.5, 0])) == [[1, 1, 1]]
    assert decode(inside, plane([0, 0.6, 0])) == [[1, 1, 2]]


def test_instances_meet_on_the_ridge_of_the_border_which_goes_to_who_was_there_first():
    inside = plane([1] * 8)
    border = plane([0, 0.6, 0.6, 0.6, 0.6, 0.9, 0.6, 0])

    assert decode(inside, border, border_threshold=0.5) == [[1, 1, 1, 1, 1, 2, 2, 2]]


def test_flat_ground_is_shared_evenly():
    inside = plane([1] * 6)

    assert decode(inside, plane([0, 1, 1, 1, 1, 0])) == [[1, 1, 1, 2, 2, 2]]


def test_seeds_of_too_few_pixels_are_dropped_and_their_ground_goes_to_the_neighbour():
    inside, border = plane([1] * 5), plane([0, 1, 0, 0, 0])

    assert decode(inside, border, min_seed_px=1) == [[1, 1, 2, 2, 2]]
    assert decode(inside, border, min_seed_px=2) == [[1, 1, 1, 1, 1]]
    assert decode(inside, border, min_seed_px=3) == [[1, 1, 1, 1, 1]]
    assert decode(inside, border, min_seed_px=4, keep_seedless=False) == [[0, 0, 0, 0, 0]]


def test_ground_without_a_seed_becomes_an_instance_of_its_own_if_asked():
    core, inside = plane([0.2, 0.2, 0, 0.9]), plane([1, 1, 0, 1])

    assert decode(core, inside=inside) == [[1, 1, 0, 2]]
    assert decode(core, inside=inside, keep_seedless=False) == [[0, 0, 0, 1]]


def test_seeds_outside_the_mask_do_not_count():
    core = plane([0.6, 0.9])

    assert decode(core, mask_threshold=0.8) == [[0, 1]]
    assert decode(core, mask_threshold=0.8, min_seed_px=2, keep_seedless=False) == [[0, 0]]


def test_the_flood_passes_corners_but_not_gaps():
    seeds = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.int32)
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    mask[2, 0] = True
    gap = np.array([[1, 0, 1]], dtype=bool)

    assert grow_seeds(seeds, np.zeros((3, 3), dtype=np.float32), mask).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert grow_seeds(seeds[:1], np.zeros((1, 3), dtype=np.float32), gap).tolist() == [[1, 0, 0]]


def test_low_ground_behind_a_ridge_goes_to_whoever_crosses_it_first():
    seeds = np.array([[1, 0, 0, 0, 2]], dtype=np.int32)
    ground = plane([0, 0.9, 0, 0.3, 0])

    assert grow_seeds(seeds, ground, np.ones((1, 5), dtype=bool)).tolist() == [[1, 1, 2, 2, 2]]
