"""Searches: they find the best parameters, resume where they were interrupted, and score held-out images."""

import numpy as np
import pytest

from kaggle_unet.config import parse_config
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.selection.search import (
    Interval,
    apply_params,
    current_params,
    nested_search,
    remember,
    search,
    search_space,
)
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings

SPACE = {"decode.mask_threshold": Interval(0.0, 1.0, 0.05), "postprocess.min_area_px": Interval(0, 40, 2)}
START = {"decode.mask_threshold": 0.5, "postprocess.min_area_px": 1}


def hill(params):
    """Be highest at 0.3 and 24."""
    return -abs(params["decode.mask_threshold"] - 0.3) - abs(params["postprocess.min_area_px"] - 24) / 20


def hills(params):
    """Score two images, of which one has its top elsewhere."""
    return np.array([hill(params), hill({**params, "postprocess.min_area_px": params["postprocess.min_area_px"] + 8})])


def test_the_top_of_a_hill_is_found():
    found = search(SPACE, hill, START, 120, 0)
    assert found.trials[0] == (START, hill(START))
    assert len(found.trials) == 121
    assert hill(found.params) == max(score for _, score in found.trials)
    assert hill(found.params) > -0.1  # a random point is at −0.9 on average


def test_parameters_lie_on_the_grid_of_the_space():
    found = search(SPACE, hill, START, 30, 3)
    for params, _ in found.trials[1:]:
        assert params["postprocess.min_area_px"] % 2 == 0
        assert 0 <= params["decode.mask_threshold"] <= 1
        assert params["decode.mask_threshold"] * 20 == pytest.approx(round(params["decode.mask_threshold"] * 20))


def test_where_nothing_is_better_the_start_stays():
    found = search(SPACE, lambda _: 1.0, START, 5, 0)
    assert found.params == START


@pytest.mark.parametrize("cut_bytes", [0, 1, 10, 60])
def test_an_interrupted_search_evaluates_nothing_twice_and_ends_where_an_uninterrupted_one_does(tmp_path, cut_bytes):
    """Cut, as a kill or a full disk cuts the last line."""
    kept, tried, again = tmp_path / "a" / "scores.jsonl", [], []
    budget = (40, 7)
    whole = nested_search(SPACE, hills, START, ["a", "b"], *budget)

    def tire(params):
        if len(tried) == 25:
            raise KeyboardInterrupt
        tried.append(params)
        return hills(params)

    with pytest.raises(KeyboardInterrupt):
        nested_search(SPACE, remember(tire, kept), START, ["a", "b"], *budget)
    kept.write_bytes(kept.read_bytes()[: -cut_bytes or None])
    resumed = nested_search(
        SPACE, remember(lambda params: again.append(params) or hills(params), kept), START, ["a", "b"], *budget
    )
    assert [params in tried for params in again].count(True) == (1 if cut_bytes else 0)
    assert resumed.found == whole.found
    assert resumed.params_without == whole.params_without
    for scores in ("before", "held_out", "after"):
        np.testing.assert_array_equal(getattr(resumed, scores), getattr(whole, scores))
    nested_search(SPACE, remember(lambda _: pytest.fail("evaluated again"), kept), START, ["a", "b"], *budget)


def test_a_held_out_gain_is_none_where_each_part_wants_something_else():
    """Every image likes one threshold by chance, so a search gains in-sample and nothing held-out."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 21))

    def evaluate(params):
        return noise[:, round(params["decode.mask_threshold"] * 20)]

    parts = [f"{number % 3}" for number in range(60)]
    nested = nested_search(SPACE, evaluate, START, parts, 60, 0)
    assert nested.after.mean() > nested.before.mean() + 0.1
    assert nested.held_out.mean() < nested.after.mean() - 0.1
    assert set(nested.params_without) == {"0", "1", "2"}


def test_each_part_is_scored_with_what_was_found_without_it():
    likes = np.array([0.2, 0.2, 0.8, 0.8])

    def evaluate(params):
        return -np.abs(params["decode.mask_threshold"] - likes)

    nested = nested_search(SPACE, evaluate, START, ["a", "a", "b", "b"], 60, 0)
    assert nested.params_without["a"]["decode.mask_threshold"] == pytest.approx(0.8, abs=0.051)
    np.testing.assert_array_equal(nested.held_out[:2], evaluate(nested.params_without["a"])[:2])
    np.testing.assert_array_equal(nested.held_out[2:], evaluate(nested.params_without["b"])[2:])
    np.testing.assert_allclose(nested.before, [-0.3] * 4)


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("single_object", [False, True])
def test_all_parameters_of_a_space_make_a_valid_config(codec, single_object):
    space = search_space(codec, single_object=single_object)
    decoder = Decoder(CODECS[codec], DecodeSettings(single_object=single_object), PostprocessSettings(min_area_px=7))
    for end in ("low", "high"):
        params = {key: getattr(values, end) if isinstance(values, Interval) else True for key, values in space.items()}
        changed = apply_params(params, decoder)
        assert current_params(space, changed) == params
        assert changed.decode.single_object == single_object


def test_what_is_not_searched_stays():
    config = parse_config("competition: {name: dsb2018}\ndecode: {keep_seedless: false}\npostprocess: {min_area_px: 9}")
    decoder = apply_params({"decode.mask_threshold": 0.4}, config.decoder)
    assert (decoder.decode.mask_threshold, decoder.decode.keep_seedless) == (0.4, False)
    assert decoder.postprocess.min_area_px == 9
