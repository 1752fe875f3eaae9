import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.labels import (
    ID_WITHOUT_PLACE,
    PAIR_WITHOUT_PLACE,
    count_overlap,
)
from tests import naive, strategies


def tables(n_ids, n_places, n_slots, n_block):
    run_ends = np.ones(n_block, dtype=np.bool_)
    return (
        np.zeros((2, n_ids + 1), dtype=np.int64),
        np.full((n_places, 3), -1, dtype=np.int64),
        np.zeros(n_slots, dtype=np.int32),
        np.zeros(5, dtype=np.int64),
        run_ends,
        run_ends.view(np.uint64),
    )


def flat(*ids):
    return np.array(ids, dtype=np.int32).view(np.uint32)


@given(strategies.pairs(), st.sampled_from([8, 16, 24]), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_pairs_are_counted_like_the_twin_does_in_one_part_or_two(pair, n_block, cut):
    true, pred = pair
    # 25 pairs at most in 32 slots: searches run into each other and round the end of the table.
    filled = tables(4, 16, 32, n_block)
    for part in (slice(None, cut), slice(cut, None)):
        assert count_overlap(true.ravel().view(np.uint32)[part], pred.ravel().view(np.uint32)[part], *filled) == 0

    (areas_true, areas_pred), pairs, _, counts, *_ = filled
    ids_true, ids_pred = (np.flatnonzero(areas[1:]) + 1 for areas in (areas_true, areas_pred))
    found = sorted(
        (ids_true.tolist().index(i), ids_pred.tolist().index(j), n) for i, j, n in pairs[: counts[0]].tolist()
    )
    expected = naive.count_overlap(true, pred)
    assert (areas_true[ids_true].tolist(), areas_pred[ids_pred].tolist(), found) == expected
    assert counts[1:].tolist() == [true.max(), pred.max(), ids_true.size, ids_pred.size]


@pytest.mark.parametrize("ids", [(1, 5), (1, -1), (2**31 - 1, 0)])
def test_an_id_without_a_place_is_refused_on_either_side(ids):
    assert count_overlap(flat(*ids), flat(1, 1), *tables(4, 4, 8, 8)) == ID_WITHOUT_PLACE
    assert count_overlap(flat(1, 1), flat(*ids), *tables(4, 4, 8, 8)) == ID_WITHOUT_PLACE


def test_a_pair_without_a_place_is_refused_but_not_one_that_was_met():
    assert count_overlap(flat(1, 2, 1), flat(1, 2, 1), *tables(4, 2, 4, 8)) == 0
    assert count_overlap(flat(1, 2, 3), flat(1, 2, 1), *tables(4, 2, 4, 8)) == PAIR_WITHOUT_PLACE


def test_large_ids_make_pairs_of_their_own():
    filled = tables(70_000, 4, 8, 8)

    count_overlap(flat(65_536, 1, 65_536), flat(1, 65_536, 1), *filled)

    assert filled[1][:2].tolist() == [[65_536, 1, 2], [1, 65_536, 1]]
