"""Votes: what most sets have stays, nothing else does, and neither ids nor the order of the sets matter."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import relabel_in_raster_order
from kaggle_unet.postprocess.vote import to_integer_weights, vote_labels, vote_mask
from tests import naive, strategies


@st.composite
def noisy(draw, n_sets):
    """Draw sets that are mostly one and the same."""
    base = draw(strategies.labels(max_side=7))
    some = st.sampled_from([True, False, False, False])
    return [
        np.where(draw(hnp.arrays(bool, base.shape, elements=some)), draw(st.integers(0, 4)), base).astype(np.int32)
        for _ in range(n_sets)
    ]


@st.composite
def shifted(draw, n_sets):
    """Draw sets of stretches in one row, each end anywhere near its place: chains of partners, disputes and ties."""
    sets = []
    for _ in range(n_sets):
        ends = sorted(place + draw(st.integers(-2, 2)) for place in (2, 6, 7, 11))
        x = np.arange(14)
        sets.append(sum(n * ((x >= start) & (x < end)) for n, start, end in ((1, *ends[:2]), (2, *ends[2:])))[None])
    return [one.astype(np.int32) for one in sets]


@st.composite
def voters(draw, max_sets=6):
    """Draw sets, and a weight for each; small, so that ties are common."""
    n_sets = draw(st.integers(1, max_sets))
    weights = draw(st.lists(st.integers(1, 3), min_size=n_sets, max_size=n_sets))
    return draw(st.one_of(noisy(n_sets), shifted(n_sets))), weights


def row(*ids):
    return np.array([ids], dtype=np.int32)


@given(voters())
def test_a_vote_is_what_comparing_everything_with_everything_gives(voter):
    sets, weights = voter

    np.testing.assert_array_equal(vote_labels(sets, weights), naive.vote_labels(sets, weights))
    np.testing.assert_array_equal(vote_labels(sets), naive.vote_labels(sets, [1] * len(sets)))


@given(strategies.labels(), st.integers(1, 5))
def test_a_set_given_several_times_comes_back(labels, n):
    np.testing.assert_array_equal(vote_labels([labels] * n), relabel_in_raster_order(labels))


@given(voters(), st.data())
def test_the_order_of_the_sets_does_not_matter_even_at_ties(voter, data):
    sets, weights = voter
    order = data.draw(st.permutations(range(len(sets))))

    other = vote_labels([sets[index] for index in order], [weights[index] for index in order])

    np.testing.assert_array_equal(other, vote_labels(sets, weights))


@given(voters())
def test_a_weight_of_n_is_the_set_given_n_times(voter):
    sets, weights = voter
    repeated = [one for one, weight in zip(sets, weights, strict=True) for _ in range(weight)]

    np.testing.assert_array_equal(vote_labels(sets, weights), vote_labels(repeated))


@given(voters())
def test_ids_do_not_matter_and_the_sets_are_not_changed(voter):
    sets, weights = voter
    renamed = [np.where(one > 0, 1000 - 7 * one, 0).astype(np.int32) for one in sets]
    before = [one.copy() for one in sets]

    np.testing.assert_array_equal(vote_labels(renamed, weights), vote_labels(sets, weights))
    np.testing.assert_array_equal(sets, before)


@given(voters())
def test_objects_are_numbered_as_they_appear_and_lie_where_some_set_has_any(voter):
    sets, weights = voter

    voted = vote_labels(sets, weights)

    assert voted.dtype == np.int32
    np.testing.assert_array_equal(voted, relabel_in_raster_order(voted))
    assert not voted[np.logical_and.reduce([one == 0 for one in sets])].any()


@given(voters())
def test_an_object_that_only_a_minority_has_vanishes(voter):
    sets, weights = voter
    alone = [np.pad(one, ((0, 0), (0, 3))) for one in sets]
    alone[0][:, -2:] = 9  # apart from all others

    voted = vote_labels(alone, weights)

    assert voted[:, -2:].any() == (2 * weights[0] > sum(weights))
    np.testing.assert_array_equal(relabel_in_raster_order(voted[:, :-3].copy()), vote_labels(sets, weights))


@given(voters())
def test_what_most_have_pixel_for_pixel_comes_back_pixel_for_pixel(voter):
    sets, weights = voter
    supports = Counter()
    for one, weight in zip(sets, weights, strict=True):
        supports.update({(one == id_).tobytes(): weight for id_ in np.unique(one[one > 0])})

    voted = vote_labels(sets, weights)

    found = {(voted == id_).tobytes() for id_ in range(1, voted.max(initial=0) + 1)}
    assert {mask for mask, support in supports.items() if 2 * support > sum(weights)} <= found


def test_half_of_the_weight_is_no_majority():
    sets = [row(1, 1, 0), row(0, 0, 0)]

    assert not vote_labels(sets).any()
    assert not vote_labels([*sets, *sets]).any()
    assert vote_labels(sets, [1.1, 1]).any()


def test_an_iou_of_one_half_is_another_object():
    assert not vote_labels([row(1, 1), row(1, 0)]).any()
    np.testing.assert_array_equal(vote_labels([row(1, 1, 1), row(1, 1, 0)]), row(1, 1, 0))


def test_outlines_are_voted_on_by_those_that_have_the_object_only():
    # Two of three have it, so a pixel needs both of them; the third says nothing about it.
    sets = [row(1, 1, 1, 1, 0), row(0, 1, 1, 1, 1), row(0, 0, 0, 0, 0)]

    np.testing.assert_array_equal(vote_labels(sets), row(0, 1, 1, 1, 0))


def test_two_halves_or_one_whole_is_decided_by_most_sets():
    whole, halves = row(1, 1, 1, 1, 1, 1), row(1, 1, 1, 2, 2, 2)

    np.testing.assert_array_equal(vote_labels([whole, halves, halves]), halves)
    np.testing.assert_array_equal(vote_labels([whole, halves, whole]), whole)
    np.testing.assert_array_equal(vote_labels([whole, halves, halves], [3, 1, 1]), whole)


def test_the_object_with_most_partners_leads_and_those_of_its_group_are_spent():
    # The second reaches the first and the third, which do not reach each other: their own groups are of two.
    chain = [row(1, 1, 1, 1, 0, 0), row(0, 1, 1, 1, 1, 0), row(0, 0, 1, 1, 1, 1)]

    np.testing.assert_array_equal(vote_labels(chain), row(0, 1, 1, 1, 1, 0))


def stretches(*ends, n=20):
    """Draw a row with an object from each start up to each end, both in it."""
    return row(*(next((id_ for id_, (start, end) in enumerate(ends, 1) if start <= x <= end), 0) for x in range(n)))


def test_a_group_that_lost_an_object_keeps_the_others_if_they_are_a_majority():
    # The wide ones are partners of each other, one of the left halves, the other of the right ones. The group of one
    # takes both; the right halves are a majority without.
    halves = stretches((0, 5), (6, 11))
    sets = [halves, halves, halves, stretches((0, 9)), stretches((2, 11))]

    np.testing.assert_array_equal(vote_labels(sets), halves)
    np.testing.assert_array_equal(vote_labels(sets, [1, 1, 1, 2, 2]), stretches((0, 9)))  # three of seven are none


def test_a_pixel_that_two_groups_claim_goes_to_the_one_with_most_votes_there():
    # The right half and the whole have a support of 8, of which 6 claim the left half, too; 7 have that by itself.
    sets = [stretches((0, 11)), stretches((0, 4), (5, 11)), stretches((0, 4))]

    np.testing.assert_array_equal(vote_labels(sets, [6, 2, 5]), stretches((0, 4), (5, 11)))


def test_a_pixel_with_as_many_votes_goes_to_the_one_with_more_support():
    # Pixel 9: three of the left one's five have it, and three of the right one's four, which differ less.
    sets = [
        stretches((4, 9)),
        stretches((4, 9)),
        stretches((4, 9), (10, 19)),
        stretches((4, 8), (9, 19)),
        stretches((4, 8), (9, 19)),
        stretches((9, 19)),
    ]

    np.testing.assert_array_equal(vote_labels(sets), stretches((4, 9), (10, 19)))


def test_among_groups_of_one_support_the_higher_mean_iou_leads():
    # The fourth pixel is claimed by two of three on either side; the right one is longer, so its IoUs are higher.
    left, right = row(1, 1, 1, 1, 0, 0, 0, 0, 0), row(0, 0, 0, 2, 2, 2, 2, 2, 2)
    neither = row(1, 1, 1, 0, 2, 2, 2, 2, 2)

    np.testing.assert_array_equal(vote_labels([left, left, neither, right, right]), row(1, 1, 1, 2, 2, 2, 2, 2, 2))


def test_of_groups_alike_in_both_the_one_whose_code_is_first_leads_in_any_order():
    sets = [row(1, 1, 1, 1, 0, 0, 0)] * 2 + [row(1, 1, 1, 0, 2, 2, 2)] + [row(0, 0, 0, 1, 1, 1, 1)] * 2

    for ordered in (sets, sets[::-1]):  # "1 4" and "4 4"
        np.testing.assert_array_equal(vote_labels(ordered), row(1, 1, 1, 1, 2, 2, 2))


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 5)])
def test_an_image_without_objects_stays_one(shape):
    voted = vote_labels([np.zeros(shape, np.int32)] * 3)

    assert (voted.shape, voted.dtype, voted.any()) == (shape, np.int32, False)


def test_memory_grows_with_pixels_and_not_with_pairs_of_objects():
    grid = np.kron(np.arange(1, 22_501, dtype=np.int32).reshape(150, 150), np.ones((3, 3), np.int32))
    vote_labels([row(1)] * 3)  # kernels are compiled

    tracemalloc.start()
    voted = vote_labels([grid] * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    np.testing.assert_array_equal(voted, relabel_in_raster_order(grid))
    assert peak < 2**27  # a byte for each pair of two sets' objects would be 5 · 10⁸


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.data())
def test_a_pixel_of_masks_is_set_where_more_than_half_of_the_weight_says_so(weights, data):
    masks = [data.draw(hnp.arrays(bool, (2, 3))) for _ in weights]

    voted = vote_mask(masks, weights)

    for y, x in np.ndindex(2, 3):
        votes = sum(weight for mask, weight in zip(masks, weights, strict=True) if mask[y, x])
        assert voted[y, x] == (votes > sum(weights) / 2)


def test_weights_are_read_as_they_are_printed():
    assert to_integer_weights([0.1, 0.2, 0.3], 3) == (1, 2, 3)
    assert to_integer_weights([4, 6.0], 2) == (2, 3)
    assert to_integer_weights(None, 3) == (1, 1, 1)
    masks = [np.array([[True]]), np.array([[True]]), np.array([[False]])]
    assert not vote_mask(masks, [0.1, 0.2, 0.3]).any()  # a tie, though 0.1 + 0.2 is above 0.3 in floats


@pytest.mark.parametrize("weights", [[], [1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
@pytest.mark.parametrize("vote", [vote_labels, vote_mask])
def test_weights_that_are_not_one_positive_number_each_are_refused(vote, weights):
    with pytest.raises(ConfigError, match=r"weights are .*; expected 2 numbers above 0"):
        vote([np.zeros((2, 2), np.int32)] * 2, weights)


def test_weights_that_no_integer_holds_are_refused():
    with pytest.raises(ConfigError, match="rounder"):
        to_integer_weights([1, 1e-12], 2)


@pytest.mark.parametrize("vote", [vote_labels, vote_mask])
def test_arrays_of_different_images_and_no_array_at_all_are_refused(vote):
    with pytest.raises(DataError, match=r"\(2, 3\) and \(3, 2\)"):
        vote([np.zeros((2, 3), bool), np.zeros((3, 2), bool)])
    with pytest.raises(DataError, match="nothing to vote on"):
        vote([])
