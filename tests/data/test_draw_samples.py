import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.data.folds import draw_samples

STRATA = ["dark"] * 81 + ["colour"] * 16 + ["bright"] * 3


def share(strength, name, n_epochs=30):
    drawn = [draw_samples(STRATA, 100, strength=strength, seed=seed) for seed in range(n_epochs)]
    return np.mean([STRATA[i] == name for epoch in drawn for i in epoch])


@pytest.mark.parametrize(
    ("strength", "expected"),
    [(0.0, (0.81, 0.16, 0.03)), (1.0, (1 / 3, 1 / 3, 1 / 3)), (0.5, (9 / 14.73, 4 / 14.73, 1.73 / 14.73))],
)
def test_rare_strata_are_drawn_more_often(strength, expected):
    found = [share(strength, name) for name in ("dark", "colour", "bright")]
    assert found == pytest.approx(expected, abs=0.01)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(1, 40), st.floats(0, 1), st.integers(0, 9)
)
def test_an_epoch_is_as_long_as_asked_and_follows_from_the_seed(strata, n_items, strength, seed):
    drawn, again = (draw_samples(strata, n_items, strength=strength, seed=seed) for _ in range(2))
    assert len(drawn) == n_items
    assert (drawn == again).all()
    assert set(drawn) <= set(range(len(strata)))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(1, 40), st.floats(0, 1))
def test_every_sample_is_drawn_as_often_as_expected_up_to_one(strata, n_items, strength):
    weights = np.array([strata.count(stratum) ** -strength for stratum in strata])
    counts = np.bincount(draw_samples(strata, n_items, strength=strength, seed=1), minlength=len(strata))
    assert (abs(counts - n_items * weights / weights.sum()) < 1 + 1e-6).all()


def test_epochs_differ_in_the_samples_they_have():
    assert len({tuple(sorted(draw_samples(["a"] * 20, 10, strength=0.5, seed=seed))) for seed in range(10)}) == 10


def test_all_samples_of_a_stratum_are_as_likely():
    counts = sum(np.bincount(draw_samples(STRATA, 100, strength=1, seed=s), minlength=100) for s in range(200))
    dark = counts[:81]
    assert dark.min() > 0.6 * dark.mean()
    assert dark.max() < 1.4 * dark.mean()
