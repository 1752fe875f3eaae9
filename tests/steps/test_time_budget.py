"""Time budgets: what is left out, in which order, and that nothing is with enough time."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.cli.options import parse_time
from kaggle_unet.data.batch import PadSpec
from kaggle_unet.errors import ConfigError
from kaggle_unet.inference.flips import FLIP_SETS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.steps import time_budget
from kaggle_unet.steps.time_budget import EMPTY, TimeBudget, list_levels
from kaggle_unet.types import Sample
from tests.steps.conftest import call

D4 = InferenceSettings(flips="d4", batch=2)
IDS = [f"{k:03}" for k in range(10)]


def predict(seconds, *, pass_s=1.0, decode_s=0.0, slower_after=None, done=(), n_networks=3, settings=D4):
    """Predict ten images, in batches of two, with three networks and a clock of one's own."""
    clock = SimpleNamespace(now=0.0, passes=[])

    def predict_samples(ensemble, sizes, load, settings, **_):
        networks = sum(map(bool, settings.weights or (1,) * len(ensemble.models)))
        for id_ in sizes:
            clock.passes.append(networks * len(FLIP_SETS[settings.flips]))
            is_slow = slower_after is not None and len(clock.passes) > slower_after
            clock.now += clock.passes[-1] * pass_s * (3 if is_slow else 1)
            yield Sample(id=id_, image=np.zeros((4, 4), np.uint8)), None

    def decode(planes, image):
        clock.now += decode_s

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_budget, "monotonic", lambda: clock.now)
        patch.setattr(time_budget, "predict_samples", predict_samples)
        ensemble = SimpleNamespace(models=[None] * n_networks, pad_spec=PadSpec(1, 0))
        budget, found = TimeBudget(seconds), []
        for sample, planes in budget.predict(ensemble, dict.fromkeys(IDS, (4, 4)), None, settings, decode, done=done):
            found.append(sample.id)
            decode(planes, sample.image)
    return budget, found, clock


def test_views_go_first_then_networks_of_least_weight_and_of_equal_ones_the_last():
    settings = InferenceSettings(flips="d4", scales=(0.5, 1.0), weights=(1, 2, 0, 1))
    levels = list_levels(settings, 4)
    assert levels[0].settings is settings
    assert [(one.settings.flips, len(one.settings.scales)) for one in levels] == [
        ("d4", 2), ("horizontal", 2), ("none", 2), ("none", 1), ("none", 1), ("none", 1),
    ]  # fmt: skip
    assert levels[3].settings.scales == (1.0,)
    assert [one.settings.weights for one in levels[3:]] == [(1, 2, 0, 1), (1, 2, 0, 0), (0, 2, 0, 0)]
    assert levels[0].name == "views: 16, networks: 3"
    assert levels[-1].name == "views: 1, networks: 1"
    passes = [one.passes for one in levels]
    assert passes == sorted(passes, reverse=True)
    assert passes[0] == 3 * 8 * 1.25
    assert passes[-1] == 1


def test_one_view_of_one_network_has_nothing_to_leave_out():
    assert len(list_levels(InferenceSettings(), 1)) == 1
    budget, found, clock = predict(5 / 0.95, n_networks=1, settings=InferenceSettings(batch=2))
    assert (len(found), budget.reduced) == (6, {EMPTY: IDS[6:]})
    assert clock.passes == [1] * 6


def test_with_enough_time_nothing_is_left_out():
    budget, found, clock = predict(24 * 10 / 0.95 + 5)
    assert len(found) == 10
    assert budget.reduced == {}
    assert budget.remarks(10) == []
    assert clock.passes == [1] * 4 + [24] * 10  # a batch of two, measured twice with one view of one network


@given(seconds=st.floats(0, 400), decode_s=st.floats(0, 5), pass_s=st.floats(0.01, 5))
def test_it_ends_in_time_whatever_the_speed_and_every_image_is_predicted_or_named(seconds, decode_s, pass_s):
    budget, found, clock = predict(seconds, pass_s=pass_s, decode_s=decode_s)
    assert sorted([*found, *budget.reduced.get(EMPTY, [])]) == IDS
    reduced = [id_ for ids in budget.reduced.values() for id_ in ids]
    assert len(set(reduced)) == len(reduced)
    batch_s = 2 * (pass_s + decode_s)  # one view of one network
    assert clock.now <= max(0.95 * seconds, 2 * batch_s) + batch_s + 1e-6


def test_the_better_level_that_fits_is_chosen():
    budget, found, _ = predict(100)  # 240 passes for all; 60 with two views, 30 with one
    assert len(found) == 10
    assert set(budget.reduced) == {"views: 2, networks: 3"}


def test_decoding_counts_once_however_many_views_there_are():
    budget, _, _ = predict(150 / 0.95, pass_s=0.04, decode_s=10)  # 9.6 s of passes, 100 s of decoding, and measuring
    assert budget.reduced == {}


def test_slow_decoding_is_foreseen():
    budget, _, _ = predict(80, pass_s=0.04, decode_s=10)
    assert list(budget.reduced) == ["views: 1, networks: 1", EMPTY]


def test_where_it_becomes_slower_later_images_get_less():
    _, found, clock = predict(330, slower_after=8)
    assert found == IDS
    assert clock.passes[4:10] == [24] * 6  # the slow batch among them was not foreseen
    assert clock.passes[10:] == [6] * 4
    assert clock.now < 330


def test_without_time_all_images_are_empty():
    budget, found, _ = predict(0)
    assert found == []
    assert list(budget.reduced) == [EMPTY]
    assert budget.remarks(10) == [f"the time budget was short: 10 of 10 images were predicted with {EMPTY}"]


def test_what_shards_have_found_is_neither_reduced_nor_replaced_by_less():
    done = set(IDS[:5])  # two batches, and half of the third
    assert predict(0, done=done)[0].reduced == {EMPTY: IDS[5:]}
    budget, found, _ = predict(30, done=done)
    assert EMPTY not in budget.reduced
    assert found == IDS[5:]


@pytest.mark.parametrize(("text", "seconds"), [("9h", 32400), ("90m", 5400), ("45s", 45), ("0.5h", 1800)])
def test_times_are_read(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "soon", "9 hours", "1.2.3h", "7"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="such as 9h"):
        parse_time(text)


@pytest.mark.parametrize("trained", ["dsb2018", "tgs"], indirect=True)
def test_enough_time_gives_the_same_bytes_and_none_gives_a_valid_csv(trained, tmp_path):
    def submit(name, *words):
        words = ("submit", trained.run, "--data", trained.test, "-o", tmp_path / f"{name}.csv", *words)
        answer = call(*words)
        assert answer.code == 0, answer.err
        return (tmp_path / f"{name}.csv").read_bytes(), json.loads((tmp_path / f"{name}.json").read_text()), answer

    free, manifest, _ = submit("free")
    assert "time_budget" not in manifest
    timed, manifest, _ = submit("timed", "--time-budget", "9h")
    assert timed == free
    assert manifest["time_budget"] == {"seconds": 32400.0, "reduced": {}}
    empty, manifest, answer = submit("empty", "--time-budget", "0s")
    assert empty.splitlines()[1:] == list(dict.fromkeys(row.partition(b",")[0] + b"," for row in free.splitlines()[1:]))
    assert manifest["blank"] == manifest["images"] == 4
    assert len(manifest["time_budget"]["reduced"][EMPTY]) == 4
    assert "4 of 4 images were predicted with nothing" in answer.err
