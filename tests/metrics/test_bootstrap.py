"""Intervals of means."""

import tracemalloc

import numpy as np
import pytest

from kaggle_unet.metrics.score import interval_of_mean


def test_the_interval_is_that_of_the_normal_distribution_for_many_values():
    values = np.random.default_rng(0).normal(3, 2, 900)
    low, high = interval_of_mean(values)
    half = 1.96 * values.std() / 30
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_copies_of_a_value_are_no_further_evidence_if_they_are_one_group():
    values = np.random.default_rng(1).normal(size=50)
    groups = [f"{number}" for number in range(50)]
    alone = interval_of_mean(values, groups)
    assert interval_of_mean(np.repeat(values, 4), np.repeat(groups, 4)) == pytest.approx(alone, abs=1e-12)
    low, high = interval_of_mean(np.repeat(values, 4))
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_a_level_is_a_share_of_resamples():
    values = np.random.default_rng(2).normal(size=100)
    narrow, wide = interval_of_mean(values, level=0.5), interval_of_mean(values, level=0.99)
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_resamples_are_drawn_in_parts_that_are_those_of_one_draw():
    values = np.random.default_rng(3).random(1001)
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    assert interval_of_mean(values) == tuple(np.percentile(values[draws].sum(axis=1) / len(values), (2.5, 97.5)))
    tracemalloc.start()
    interval_of_mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 100 * values.nbytes
