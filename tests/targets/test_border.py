import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.targets.border import border, keep_one_seed_pixel
from kaggle_unet.targets.codecs import encode_targets
from tests import naive, strategies

RULES = ["touching", "contour"]
ALL_SETTINGS = [{"rule": rule, "radius_px": radius} for rule in RULES for radius in (1, 2, 3, "by_size")]


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


def split_interior(labels, **options):
    """Split every instance into interior and border."""
    return encode_targets(labels, "interior_border", **options) > 0


def test_touching_pixels_and_the_gap_of_one_between_instances_are_border():
    assert border(row(1, 1, 2, 2, 0, 3, 3, 0, 0)).astype(int).tolist() == [[0, 1, 1, 0, 1, 0, 0, 0, 0]]


def test_a_contour_is_inside_its_instance_and_open_at_the_edge_of_the_image():
    assert border(row(1, 1, 1, 0, 2, 2, 2, 0), rule="contour").astype(int).tolist() == [[0, 0, 1, 0, 1, 0, 1, 0]]


def test_corners_touch():
    assert border(np.array([[1, 0], [0, 2]], dtype=np.int32)).all()


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_no_instance_has_no_border(settings):
    interior, marked = split_interior(np.zeros((3, 4), dtype=np.int32), **settings)

    assert not interior.any()
    assert not marked.any()


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_an_instance_that_fills_the_image_has_no_border(settings):
    assert split_interior(np.ones((3, 4), dtype=np.int32), **settings)[0].all()


@given(strategies.labels(), st.sampled_from(RULES), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_borders_of_one_radius_are_those_of_the_twin(labels, rule, radius):
    found = border(labels, rule=rule, radius_px=radius)

    assert (found == naive.border(labels, rule, lambda _: radius)).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("areas_px", "radii_px"),
    [((299, 300), (3, 1, 2)), ((1999, 2000), (3, 2, 3)), ((100, 4000), (3, 1, 3)), ((100, 4001), (6, 1, 3))],
)
def test_the_table_of_sizes_gives_background_and_each_instance_its_radius(rule, areas_px, radii_px):
    labels = np.zeros((30, 300), dtype=np.int32)
    first, second = labels[:, :150].T, labels[:, 150:].T  # columns fill up from where the two touch
    first.flat[-areas_px[0] :] = 1
    second.flat[: areas_px[1]] = 2

    found = border(labels, rule=rule, radius_px="by_size")

    assert (found == naive.border(labels, rule, lambda own: radii_px[own])).all()


def test_a_covered_instance_keeps_its_innermost_pixel():
    labels = np.full((5, 6), 2, dtype=np.int32)
    labels[1:4, 1:4] = 1

    interior, marked = split_interior(labels, radius_px=3)

    assert interior[2, 2]
    assert (interior & (labels == 1)).sum() == 1
    assert not marked[2, 2]


def test_of_equally_deep_pixels_the_first_in_raster_order_is_kept():
    labels = np.array([[2, 2, 2, 2], [2, 1, 1, 2], [2, 2, 2, 2]], dtype=np.int32)

    interior, _ = split_interior(labels)

    assert np.argwhere(interior & (labels == 1)).tolist() == [[1, 1]]


def test_beyond_the_edge_of_the_image_is_nothing_foreign():
    interior, _ = split_interior(row(1, 1, 2, 2), radius_px=2)

    assert interior.tolist() == [[True, False, False, True]]


def test_the_innermost_pixel_is_freed_on_a_border_that_reaches_into_background():
    labels = row(0, 1, 0)

    assert keep_one_seed_pixel(labels, np.ones((1, 3), dtype=bool), 1).tolist() == [[True, False, True]]


@given(strategies.labels(), st.sampled_from(ALL_SETTINGS))
@settings(max_examples=80, deadline=None)
def test_interior_and_border_share_the_mask_and_no_instance_is_lost(labels, settings):
    interior, marked = split_interior(labels, **settings)

    assert not (interior & marked).any()
    assert ((interior | marked) == (labels > 0)).all()
    assert set(labels[interior].tolist()) == set(labels.ravel().tolist()) - {0}


@given(strategies.labels(), st.sampled_from(RULES), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_the_pixel_kept_is_as_deep_as_the_whole_image_says(labels, rule, radius):
    interior, _ = split_interior(labels, rule=rule, radius_px=radius)

    raw = border(labels, rule=rule, radius_px=radius)
    for label in range(1, int(labels.max()) + 1):
        own = labels == label
        if raw[own].all():
            squares = [
                min((y - v) ** 2 + (x - u) ** 2 for v, u in np.argwhere(~own)) if not own.all() else 0
                for y, x in np.argwhere(own)
            ]
            assert np.argwhere(interior & own).tolist() == [np.argwhere(own)[np.argmax(squares)].tolist()]


def test_of_a_tall_instance_the_innermost_pixel_is_not_the_one_farthest_inside_its_column():
    labels = np.ones((9, 3), dtype=np.int32)
    labels[:, 0] = 0

    assert np.argwhere(~keep_one_seed_pixel(labels, labels > 0, 1) & (labels > 0)).tolist() == [[0, 2]]
