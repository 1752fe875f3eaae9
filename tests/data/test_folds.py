"""Folds share out every stratum, part no group, and say so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from scipy.stats import chi2_contingency

from kaggle_unet.data.folds import assign_folds, chi_square_p, count_folds, coverage_class, describe_folds
from kaggle_unet.errors import ConfigError


@st.composite
def collections(draw):
    """Draw samples, their strata and groups, and a number of folds that can be filled."""
    n = draw(st.integers(2, 5))
    groups = draw(st.lists(st.integers(0, 12), min_size=n, max_size=60))
    strata = draw(st.lists(st.sampled_from("abc"), min_size=len(groups), max_size=len(groups)))
    ids = [f"{i:02d}" for i in range(len(groups))]
    return ids, strata, [f"g{group}" for group in groups], n


@given(collections(), st.integers(0, 9))
def test_groups_stay_whole_whenever_there_are_enough_of_them(collection, seed):
    ids, strata, groups, n = collection
    folds = assign_folds(ids, strata=strata, groups=groups, n=n, seed=seed)
    assert list(folds) == ids
    assert set(folds.values()) == set(range(n))
    if len(set(groups)) >= n:
        assert count_folds([*folds.values()], strata=strata, groups=groups)[2] == 0


@given(collections(), st.integers(0, 9), st.randoms())
def test_folds_depend_on_the_set_of_samples_not_on_their_order(collection, seed, random):
    ids, strata, groups, n = collection
    order = random.sample(range(len(ids)), len(ids))
    shuffled = [[values[i] for i in order] for values in (ids, strata, groups)]
    folds = assign_folds(ids, strata=strata, groups=groups, n=n, seed=seed)
    assert folds == assign_folds(shuffled[0], strata=shuffled[1], groups=shuffled[2], n=n, seed=seed)


@given(st.lists(st.sampled_from("abc"), min_size=5, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_ungrouped_samples_are_balanced_to_within_one_of_each_stratum(strata, n, seed):
    ids = [f"{i:02d}" for i in range(len(strata))]
    folds = assign_folds(ids, strata=strata, groups=ids, n=n, seed=seed)
    _, counts, _ = count_folds([*folds.values()], strata=strata, groups=ids)
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= counts.shape[1]


def test_large_groups_of_one_stratum_go_to_different_folds():
    groups = [*"aaaabbbbcccc", *"uvwxyz"]
    strata = [*"x" * 12, *"y" * 6]
    ids = [f"{i:02d}" for i in range(18)]
    folds = assign_folds(ids, strata=strata, groups=groups, n=3, seed=0)
    assert count_folds([*folds.values()], strata=strata, groups=groups)[1].tolist() == [[4, 2]] * 3


@pytest.mark.parametrize("seed", range(12))
def test_a_large_group_is_dealt_before_the_samples_that_make_up_for_it(seed):
    groups = [*"abcde", *"gggg"]
    ids = [f"{i:02d}" for i in range(9)]
    folds = assign_folds(ids, strata=["x"] * 9, groups=groups, n=2, seed=seed)
    assert sorted(np.bincount([*folds.values()])) == [4, 5]


def test_another_seed_deals_otherwise():
    ids = [f"{i:02d}" for i in range(20)]
    first, second = (assign_folds(ids, strata=ids, groups=ids, n=4, seed=seed) for seed in (0, 1))
    assert first != second


def test_fewer_groups_than_folds_are_parted_rather_than_leaving_a_fold_empty():
    folds = assign_folds(list("abcd"), strata=list("xxxx"), groups=list("1111"), n=2, seed=0)
    assert sorted(folds.values()) == [0, 0, 1, 1]


def test_fewer_samples_than_folds_are_refused():
    with pytest.raises(ConfigError, match="2 samples cannot be divided into 3 folds"):
        assign_folds(["a", "b"], strata=["x", "x"], groups=["a", "b"], n=3, seed=0)


@pytest.mark.parametrize(
    ("n_covered", "expected"), [(0, "0"), (1, "1"), (10, "1"), (11, "2"), (50, "5"), (99, "10"), (100, "10")]
)
def test_coverage_is_rounded_up_to_tenths(n_covered, expected):
    labels = np.zeros(100, np.int32)
    labels[:n_covered] = 3
    assert coverage_class(labels.reshape(10, 10)) == expected


def test_pixels_of_no_known_class_are_not_covered_but_those_of_an_instance_255_are():
    labels = np.array([[0, 255, 255, 2]])
    assert (coverage_class(labels, semantic=True), coverage_class(labels)) == ("3", "8")


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abcd")), min_size=1, max_size=60))
def test_the_test_of_independence_is_scipys(pairs):
    folds, strata = [fold for fold, _ in pairs], [stratum for _, stratum in pairs]
    _, counts, _ = count_folds(folds, strata=strata, groups=strata)
    table = counts[counts.any(axis=1)]
    expected = chi2_contingency(table, correction=False).pvalue if min(table.shape) > 1 else 1.0
    assert chi_square_p(counts) == pytest.approx(expected, abs=1e-9)


def test_members_in_other_folds_are_counted_one_by_one():
    _, counts, n_split = count_folds([0, 0, 1, 1, 2], strata=list("xxxxx"), groups=list("aabaa"))
    assert n_split == 4
    assert counts.tolist() == [[2], [2], [1]]


def test_strata_that_are_numbers_are_listed_in_their_order():
    assert count_folds([0, 0, 0], strata=["10", "9", "0"], groups=list("abc"))[0] == ["0", "9", "10"]


def rows(folds, strata, groups):
    ids = [f"{i}" for i in range(len(folds))]
    return DataFrame({"id": ids, "fold": folds, "stratum": strata, "group": groups})


def test_the_description_counts_warns_and_names_what_is_small():
    lines = describe_folds(rows([0, 0, 1, 1, None], [*"kkkr", "k"], [*"aaab", "c"]))
    assert lines == [
        "fold    k    r  all",
        "   0    2    0    2",
        "   1    1    1    2",
        " all    3    1    4",
        "strata against folds: p = 0.25 (chi-square; 1 is even)",
        "3 samples lie in 1 groups; 3 of them are split",
        "warning: folds that split a group have seen neighbours of their validation samples; scores may be too high",
        "warning: fewer samples than the 2 folds, so some folds have none of: r (1)",
        "1 samples have no fold: neither trained on nor validated",
    ]


def test_without_any_fold_there_is_one_line():
    assert describe_folds(rows([None], ["k"], ["a"])) == ["no folds: none of 1 samples has one"]
