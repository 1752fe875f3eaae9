import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.targets.watershed import decode_instances
from tests import naive, strategies


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


def test_flat_parts_are_shared_evenly():
    inside = plane([1] * 6)

    assert decode(inside, plane([0, 1, 1, 1, 1, 0])) == [[1, 1, 1, 2, 2, 2]]


def test_seeds_of_too_few_pixels_are_dropped_and_their_pixels_go_to_the_neighbour():
    inside, border = plane([1] * 5), plane([0, 1, 0, 0, 0])

    assert decode(inside, border, min_seed_px=1) == [[1, 1, 2, 2, 2]]
    assert decode(inside, border, min_seed_px=2) == [[1, 1, 1, 1, 1]]
    assert decode(inside, border, min_seed_px=3) == [[1, 1, 1, 1, 1]]
    assert decode(inside, border, min_seed_px=4, keep_seedless=False) == [[0, 0, 0, 0, 0]]


def test_a_component_without_a_seed_becomes_an_instance_of_its_own_if_asked():
    core, inside = plane([0.2, 0.2, 0, 0.9]), plane([1, 1, 0, 1])

    assert decode(core, inside=inside) == [[1, 1, 0, 2]]
    assert decode(core, inside=inside, keep_seedless=False) == [[0, 0, 0, 1]]


def test_seeds_outside_the_mask_do_not_count():
    core = plane([0.6, 0.9])

    assert decode(core, mask_threshold=0.8) == [[0, 1]]
    assert decode(core, mask_threshold=0.8, min_seed_px=2, keep_seedless=False) == [[0, 0]]


@st.composite
def decodings(draw):
    """Draw planes (few values, so that there are blobs, ties and thresholds met exactly; some as noise) and rules."""
    shape = draw(strategies.shapes(14))
    values = st.sampled_from([0, 0.25, 0.5, 0.75, 0.9, 1]) if draw(st.booleans()) else st.floats(0, 1, width=16)
    planes = [draw(hnp.arrays(np.float32, shape, elements=values)) for _ in range(3)]
    thresholds = st.sampled_from([0, 0.3, 0.5, 0.75, 1])
    rules = DecodeSettings(
        mask_threshold=draw(thresholds),
        seed_threshold=draw(thresholds),
        border_threshold=draw(thresholds),
        min_seed_px=draw(st.integers(0, 4)),
        keep_seedless=draw(st.booleans()),
        single_object=draw(st.sampled_from([False, False, False, True])),
    )
    return planes, rules, draw(st.sampled_from([0, 1, 3, 6]))


@given(decodings(), st.sampled_from(["plane", "core", "sum"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_decoding_does_what_the_twin_does(drawn, inside_is, has_border):
    (plane, core, border), rules, min_area_px = drawn
    has_border |= inside_is == "sum"
    inside = {"plane": plane, "core": core, "sum": np.minimum(core + border, 1)}[inside_is]
    planes = None if inside_is == "sum" else inside, core, border if has_border else None

    labels = decode_instances(*planes, rules, min_area_px=min_area_px)

    assert labels.dtype == np.int32
    assert (labels == naive.decode(inside, core, border if has_border else None, rules, min_area_px)).all()
    mask = decode_instances(*planes, rules.model_copy(update={"single_object": True}))
    assert (mask == (inside > np.float32(rules.mask_threshold))).all()


EIGHTHS = hnp.arrays(np.float32, strategies.shapes(14), elements=st.sampled_from([0, 0.125, 0.25, 0.5, 0.75, 1]))


@given(EIGHTHS, st.sampled_from([0, 0.3, 0.5, 0.75, 1]), st.sampled_from([0, 1, 6]))
@settings(deadline=None)
def test_the_mask_of_the_best_expected_iou_is_the_best_of_all_levels(inside, least, min_area_px):
    rules = DecodeSettings(mask_threshold=least, single_object=True, expected_iou=True)
    border = np.flip(inside)

    labels = decode_instances(inside, inside, None, rules, min_area_px=min_area_px)
    of_sum = decode_instances(None, inside, border, rules, min_area_px=min_area_px)

    assert (labels == naive.decode(inside, inside, None, rules, min_area_px)).all()
    assert (of_sum == naive.decode(np.minimum(inside + border, 1), inside, border, rules, min_area_px)).all()


def test_faint_salt_is_drawn_whole_or_not_at_all():
    rules = DecodeSettings(single_object=True, expected_iou=True)
    sure = plane([0.9, 0.9, 0.45, 0.1])  # with the third pixel 2.25 / 3.1, without it 1.8 / 2.55
    faint = plane([0.6, 0.1, 0.1, 0.1])  # at best 0.6 / 1.3

    assert decode_instances(sure, sure, None, rules).tolist() == [[1, 1, 1, 0]]
    assert decode_instances(faint, faint, None, rules).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("rules", [{}, {"single_object": True}, {"single_object": True, "expected_iou": True}], ids=str)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (1, 9), (9, 1)])
def test_images_of_any_shape_decode(shape, rules):
    full = np.ones(shape, dtype=np.float32)

    labels = decode_instances(inside=full, core=full, border=None, settings=DecodeSettings(**rules))
    np.testing.assert_array_equal(labels, np.ones(shape))


def test_two_seeds_in_a_bay_of_a_third_are_flooded_by_themselves():
    core = plane(
        [1, 1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 1, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1],
    )
    inside = np.ones_like(core)

    labels = np.array(decode(core, inside=inside))

    assert (labels[2:5, 2:5] == 2).all()
    assert np.count_nonzero(labels == 2) == 9
