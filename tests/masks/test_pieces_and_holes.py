import numpy as np
import pytest
from hypothesis import given, settings

from kaggle_unet.masks.labels import count_pieces_and_holes
from tests import naive, strategies


@given(strategies.labels(max_side=12, max_id=2))
@settings(max_examples=200, deadline=None)
def test_pieces_and_holes_are_those_of_each_instance_by_itself(labels):
    pieces, holes = count_pieces_and_holes(labels)

    for label in range(1, int(labels.max()) + 1):
        assert (pieces[label], holes[label]) == naive.pieces_and_holes(labels, label)
    assert (pieces[0], holes[0]) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "pieces", "holes"),
    [
        (["111", "101", "111"], 1, 1),
        (["111", "101", "110"], 1, 1),  # a corner does not open a hole
        (["101", "111"], 1, 0),
        (["10", "01"], 1, 0),
        (["1001", "1001"], 2, 0),
        (["10101", "10101", "11111"], 1, 0),  # prongs that meet below
        (["11111", "10001", "10101", "10001", "11111"], 2, 1),
        (["0"], 0, 0),
    ],
)
def test_pieces_and_holes_by_hand(rows, pieces, holes):
    labels = np.array([[int(letter) for letter in row] for row in rows], dtype=np.int32)

    found = count_pieces_and_holes(labels)

    assert (found[0].sum(), found[1].sum()) == (pieces, holes)


def test_an_id_that_is_missing_has_no_piece():
    assert count_pieces_and_holes(np.array([[3, 0, 3]], dtype=np.int32))[0].tolist() == [0, 0, 0, 2]
