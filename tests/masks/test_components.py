import numpy as np
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.masks.labels import blank_classes, find_components, find_components_of_mask, whole_rows
from tests import naive, strategies


@st.composite
def classes(draw):
    """Draw classes in long and short runs, up to three words of eight pixels wide."""
    n_y, n_x = draw(st.integers(1, 6)), draw(st.integers(1, 27))
    rows = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(1, 12)), min_size=n_x, max_size=n_x)
    drawn = [np.repeat(*np.transpose(draw(rows)))[:n_x] for _ in range(n_y)]
    framed = blank_classes((n_y, n_x))
    framed[1:-1, :n_x] = drawn
    return framed


@given(classes())
@settings(max_examples=100, deadline=None)
def test_runs_are_those_that_the_twin_finds(framed):
    mask, seeds = find_components(framed)

    assert mask.runs.tolist() == naive.runs(framed[1:-1] > 0)
    assert seeds.runs.tolist() == naive.runs(framed[1:-1] > 1)
    for found in (mask, seeds):
        assert found.firsts.tolist() == np.searchsorted(found.runs[:, 0], range(len(framed) - 1)).tolist()


@given(classes(), st.sampled_from([4, 8]))
@settings(max_examples=100, deadline=None)
def test_components_of_mask_and_seeds_are_numbered_apart(framed, connectivity):
    structure = np.ones((3, 3)) if connectivity == 8 else None

    for level, found in enumerate(find_components(framed, connectivity=connectivity), start=1):
        expected, n = scipy.ndimage.label(framed[1:-1] >= level, structure)
        assert found.n == n
        assert [expected[y, start] for y, start, _ in found.runs] == found.ids.tolist()


def test_a_spiral_is_one_component_though_its_arms_meet_last():
    spiral = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 1, 1, 1], [1, 0, 0, 0, 0]], dtype=bool)

    assert find_components_of_mask(spiral, connectivity=4).n == 1


@given(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9), st.booleans())
def test_full_empty_and_no_pixels_at_all(shape, value):
    found = find_components_of_mask(np.full(shape, value))

    assert found.n == (value and 0 not in shape)
    assert (found.runs == (whole_rows(shape) if value and shape[1] else np.empty((0, 3)))).all()


@given(strategies.masks(max_side=20))
def test_classes_are_only_read(mask):
    framed = blank_classes(mask.shape)
    framed[1:-1, : mask.shape[1]] = mask
    before = framed.copy()

    find_components(framed)

    assert (framed == before).all()
