from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import ConfigError
from kaggle_unet.targets.settings import DistanceWeight, SizeWeight, WeightSettings
from kaggle_unet.targets.weights import distance_weights, size_weights, weight_map
from tests import naive, strategies


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


def test_the_distance_weight_is_the_papers():
    labels = row(1, 0, 0, 0, 2)
    # d1 + d2 is 1 + 3, 2 + 2 and 3 + 1.
    expected = 10 * exp(-(4**2) / (2 * 5**2))

    assert distance_weights(labels) == pytest.approx(row(0, 1, 1, 1, 0) * expected)


def test_distances_are_euclidean():
    labels = np.zeros((3, 4), dtype=np.int32)
    labels[0, 0], labels[2, 3] = 1, 2

    weights = distance_weights(labels, w0=1, sigma_px=3)

    # From (1, 1): √2 to the first, √5 to the second.
    assert weights[1, 1] == pytest.approx(exp(-((sqrt(2) + sqrt(5)) ** 2) / 18))


def test_a_single_instance_in_two_pieces_has_no_second_and_no_weight():
    assert not distance_weights(row(1, 0, 1)).any()
    assert not distance_weights(row(0, 0, 0)).any()


def test_weights_that_are_negligible_are_exactly_zero():
    labels = np.zeros((1, 200), dtype=np.int32)
    labels[0, 0], labels[0, -1] = 1, 2

    assert not distance_weights(labels, w0=10, sigma_px=5).any()
    assert (distance_weights(labels, w0=10, sigma_px=50)[labels == 0] > 0).all()


@given(strategies.labels(max_side=14, max_id=6), st.sampled_from([0.3, 1, 5, 50]))
@settings(max_examples=50, deadline=None)
def test_distance_weights_are_those_of_a_stack_of_distance_transforms(labels, sigma_px):
    found = distance_weights(labels, w0=7, sigma_px=sigma_px)

    expected = 7 * np.exp(-(naive.two_nearest_px(labels).sum(axis=0) ** 2) / (2 * sigma_px**2))
    assert found.dtype == np.float32
    # A float32 exponent of up to 17 is rounded by half a millionth, and what is below 2⁻²⁴ is left out.
    assert found == pytest.approx(np.where(labels > 0, 0, expected), rel=3e-6, abs=2**-24)
    assert not found[expected < 0.99 * 2**-24].any()


@given(strategies.labels(max_side=8, max_id=4))
@settings(max_examples=50, deadline=None)
def test_touching_instances_are_separated_by_a_line_that_leaves_a_pixel_of_each(labels):
    near = naive.border(labels, "touching", lambda _: 1) & (labels > 0)
    covered = np.array([near[labels == label].all() for label in range(labels.max() + 1)])

    found = distance_weights(labels, separate_touching=True)

    apart = np.where(near & ~covered[labels], 0, labels)
    for label in np.flatnonzero(covered[1:]) + 1:  # of these, one pixel is left, and its place is not tried here
        y, x = np.argwhere((labels == label) & (found == 0))[0]
        apart[labels == label] = 0
        apart[y, x] = label
    assert (found == distance_weights(apart)).all()


@given(strategies.apart(), st.sampled_from([1, 5]))
@settings(max_examples=30, deadline=None)
def test_separation_changes_nothing_where_no_instances_touch(labels, sigma_px):
    separated = distance_weights(labels, sigma_px=sigma_px, separate_touching=True)

    assert (separated == distance_weights(labels, sigma_px=sigma_px)).all()


def test_touching_instances_have_a_weight_only_if_they_are_separated():
    assert not distance_weights(row(1, 1, 2, 2)).any()
    assert distance_weights(row(1, 1, 2, 2), separate_touching=True) == pytest.approx(
        10 * np.exp(-9 / 50) * row(0, 1, 1, 0), rel=1e-6
    )


def test_small_instances_weigh_more_within_the_bounds():
    labels = row(0, 1, 2, 2, 2, 2, *[3] * 16, *[4] * 64)

    weights = size_weights(labels, gamma=0.5, lo=0.5, hi=1.5, reference_area_px=4)

    assert [weights[labels == i].tolist()[0] for i in range(5)] == [1, 1.5, 1, 0.5, 0.5]
    assert weights.dtype == np.float32


def test_background_weighs_one_whatever_its_area():
    assert size_weights(row(*[0] * 50, 1), reference_area_px=1)[0, 0] == 1


def test_a_size_weight_without_reference_area_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"weights\.size\.reference_area_px is not set"):
        size_weights(row(1), reference_area_px=None)


def test_no_map_is_one_everywhere():
    weights = weight_map(row(1, 0), WeightSettings())

    assert weights.tolist() == [[1, 1]]
    assert weights.dtype == np.float32


def test_class_and_size_multiply_distance_adds_and_the_cap_comes_last():
    labels = row(1, 1, 0, 2)
    planes = np.array([[[1, 0, 0, 1]], [[0, 1, 0, 0]], [[0, 0, 1, 0]]], dtype=np.float32)
    between = 10 * exp(-(2**2) / 2)  # d1 = d2 = 1

    weights = weight_map(
        labels,
        WeightSettings(
            distance=DistanceWeight(w0=10, sigma_px=1),
            size=SizeWeight(gamma=1, hi=4, reference_area_px=4),
            classes={"border": 3, "background": 0.5},
            cap=5,
        ),
        planes=planes,
    )

    # Sizes: area 2 weighs 2, area 1 weighs 4. Border is 3 · 2 = 6, cut to 5.
    assert weights == pytest.approx(np.array([[2, 5, 0.5 + between, 4]]))


def test_ignored_pixels_do_not_count():
    weights = weight_map(row(1, 0), WeightSettings(), ignore=np.array([[True, False]]))

    assert weights.tolist() == [[0, 1]]


def test_a_class_the_codec_lacks_is_refused_with_those_it_has():
    with pytest.raises(ConfigError, match=r"weights\.classes names mask, but the codec has interior, border"):
        weight_map(row(0), WeightSettings(classes={"mask": 2}))


def test_without_planes_the_classes_are_those_of_borders_of_one_pixel():
    weights = weight_map(row(0, 1, 1, 2, 2), WeightSettings(classes={"border": 3, "mask": 2}), codec="mask_border")

    assert weights.tolist() == [[1, 2, 3, 3, 2]]


@given(strategies.labels(), st.floats(0.1, 30))
@settings(max_examples=30, deadline=None)
def test_weights_stay_between_zero_and_the_cap(labels, cap):
    settings = WeightSettings(distance=DistanceWeight(), size=SizeWeight(reference_area_px=5), cap=cap)

    weights = weight_map(labels, settings)

    assert (weights > 0).all()
    assert (weights <= np.float32(cap)).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: size_weights(row(1), reference_area_px=1, lo=3, hi=2), "size weights go from lo 3 to hi 2"),
        (lambda: SizeWeight(lo=5), "lo 5 to hi 4; lo must not be above hi"),
        (lambda: SizeWeight(hi=1e39), r"hi is 1e\+39: input should be less than or equal to 1000000"),
        (lambda: distance_weights(row(1, 0, 2), w0=1e39), r"w0 is 1e\+39: input should be less than or equal"),
        (lambda: distance_weights(row(1, 0, 2), sigma_px=1e200), r"sigma_px is 1e\+200: input should be less"),
        (lambda: distance_weights(row(1, 0, 2), sigma_px=1e-200), "sigma_px is 1e-200: input should be greater"),
    ],
)
def test_weights_that_no_number_can_hold_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


@pytest.mark.parametrize(("w0", "sigma_px"), [(1e6, 1e6), (1e-320, 5), (1e6, 0.01)])
def test_the_smallest_and_the_largest_distance_weights_are_finite(w0, sigma_px):
    found = distance_weights(row(1, 0, 2), w0=w0, sigma_px=sigma_px)
    assert np.isfinite(found).all()
    assert found.max() <= w0
