import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.inference.flips import FLIP_SETS, FLIPS

# By numpy's own words, independent of the table of transpositions and axes.
BY_NUMPY = {
    "identity": lambda grid: grid,
    "left_right": lambda grid: grid[..., ::-1],
    "upside_down": lambda grid: grid[..., ::-1, :],
    "rotate_180": lambda grid: np.rot90(grid, 2, axes=(-2, -1)),
    "transpose": lambda grid: np.swapaxes(grid, -2, -1),
    "rotate_270": lambda grid: np.rot90(grid, 3, axes=(-2, -1)),
    "rotate_90": lambda grid: np.rot90(grid, 1, axes=(-2, -1)),
    "anti_transpose": lambda grid: np.swapaxes(np.rot90(grid, 2, axes=(-2, -1)), -2, -1),
}


@pytest.mark.parametrize("name", FLIPS)
@given(height=st.integers(1, 7), width=st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_undo_gives_back_what_apply_was_given(name, height, width):
    grid = torch.arange(2 * height * width).view(2, height, width)
    flip = FLIPS[name]
    assert torch.equal(flip.undo(flip.apply(grid)), grid)


@pytest.mark.parametrize("name", FLIPS)
def test_each_symmetry_is_that_of_its_name(name):
    grid = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    np.testing.assert_array_equal(FLIPS[name].apply(torch.from_numpy(grid)).numpy(), BY_NUMPY[name](grid))


def test_the_eight_symmetries_are_all_different():
    grid = torch.arange(9).view(3, 3)
    assert len({str(FLIPS[name].apply(grid).tolist()) for name in FLIPS}) == 8


def test_horizontal_flips_never_turn_up_into_down():
    grid = torch.tensor([[1, 2], [3, 4]])
    flipped = [flip.apply(grid).tolist() for flip in FLIP_SETS["horizontal"]]
    assert flipped == [[[1, 2], [3, 4]], [[2, 1], [4, 3]]]


def test_the_sets_have_1_2_and_8_flips():
    assert {name: len(flips) for name, flips in FLIP_SETS.items()} == {"none": 1, "horizontal": 2, "d4": 8}
