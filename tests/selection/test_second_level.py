"""Candidates at several seed thresholds: their features, the choice among them, and that trees learn it."""

import itertools

import numpy as np
import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.metrics.score import score_image
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.selection.second_level import (
    Regressor,
    _maximize_score,
    choose,
    feature_names,
    find_candidates,
    refuse_without_seeds,
    true_precisions,
)
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings

CODEC = CODECS["mask_border"]
DECODER = Decoder(CODEC, DecodeSettings(seed_threshold=0.5, border_threshold=0.5))


def draw(rng, n=6):
    """Draw pairs of discs and single bars, each with a valley of 0.7 in the middle: only pairs are to be split.

    Planes are mask and border, and the valley is in the mask.
    """
    labels, mask = np.zeros((60, 60 * n), np.int32), np.zeros((60, 60 * n), np.float32)
    y, x = np.mgrid[:60, :60]
    next_id = 1
    for cell in range(n):
        left = 60 * cell
        centre, radius = rng.uniform(26, 34), rng.uniform(8, 11)
        if rng.random() < 0.5:
            discs = [np.hypot(y - 30, x - centre - side * radius * 0.9) < radius for side in (-1, 1)]
            both, halves = discs[0] | discs[1], [discs[0] & (x < centre), discs[1] & (x >= centre)]
        else:
            both = (np.abs(y - 30) < radius) & (np.abs(x - centre) < 1.9 * radius)
            halves = [both]
        for half in halves:
            labels[:, left : left + 60][half] = next_id
            next_id += 1
        mask[:, left : left + 60] = np.where(both, np.where(np.abs(x - centre) < 2, 0.7, 0.95), 0.05)
    return labels, np.stack([mask, np.zeros_like(mask)])


def test_every_threshold_is_a_level_and_the_one_in_use_comes_first():
    _, planes = draw(np.random.default_rng(0))

    found = find_candidates(DECODER, planes, seed_thresholds=(0.4, 0.8, 0.9))

    assert len(found.levels) == 2  # 0.4 gives what 0.5 does, and 0.9 what 0.8 does
    assert found.levels[0].max() == 6
    assert found.levels[1].max() == 12
    assert found.objects.shape == (18, len(feature_names(CODEC)))
    assert np.isfinite(found.objects).all()


def draw_bar():
    """Draw a square without a valley, and a bar with one: a threshold of 0.8 halves it."""
    labels, planes = np.zeros((20, 40), np.int32), np.zeros((2, 20, 40), np.float32)
    planes[0, 5:15, 5:15] = planes[0, 5:15, 20:36] = 0.95
    planes[0, 5:15, 27:29] = 0.7
    labels[5:15, 5:15], labels[5:15, 20:36] = 1, 2
    return labels, planes


def test_an_object_is_described_alone_and_among_those_of_its_own_level():
    labels, planes = draw_bar()

    found = find_candidates(DECODER, planes, seed_thresholds=(0.8,))

    names = feature_names(CODEC)
    first, second = ({name: level[:, names.index(name)].tolist() for name in names} for level in found.features)
    assert first["area_px"] == [100, 160]
    assert second["area_px"] == [100, 80, 80]
    assert (first["objects in image"], second["objects in image"]) == ([2, 2], [3, 3, 3])
    assert (first["pieces of component"], second["pieces of component"]) == ([1, 1], [1, 2, 2])
    assert first["solidity"][0] == second["solidity"][0] == 1
    assert first["lowest mask"] == pytest.approx([0.95, 0.7])
    precisions = found.split(true_precisions(found, labels))
    assert precisions[0].tolist() == [1, 1]
    assert precisions[1].tolist() == [1, 0, 0]  # an IoU of 0.5 is above no threshold
    planes[0, 5:15, 35] = 0  # 15 of 16 columns
    assert true_precisions(find_candidates(DECODER, planes, seed_thresholds=()), labels).tolist() == [1, 0.9]


def test_objects_alike_in_all_but_their_pixels_are_not_mixed_up():
    planes = np.zeros((2, 12, 30), np.float32)
    planes[0, 2:8, 2:8] = planes[0, 2:8, 12:18] = 0.9
    planes[0, 2:8, 14:16] = 0.6  # its halves begin and end elsewhere

    found = find_candidates(DECODER, planes, seed_thresholds=(0.8,))

    lowest = feature_names(CODEC).index("lowest mask")
    assert found.features[0][:, lowest].tolist() == pytest.approx([0.9, 0.6])


@pytest.mark.parametrize(("expected", "true_per_found", "areas"), [
    ([1, 0.9, 1, 0.5, 0.5], 2, [100, 160]),
    ([1, 0.4, 1, 0.5, 0.5], 2, [80, 80, 100]),
    ([1, 0.4, 1, 0.9, 0.1], 1, [80, 100]),  # the halves win by their mean, then one is dropped
    ([1, 0.4, 1, 0.9, 0.1], 99, [80, 80, 100]),  # where nearly all are missed, whatever is found counts
    ([0, 0.5, 0, 0.5, 0.5], 2, [160]),  # of equals the one in use
])  # fmt: skip
def test_each_component_takes_its_best_level_and_loses_what_hardly_can_be_right(expected, true_per_found, areas):
    found = find_candidates(DECODER, draw_bar()[1], seed_thresholds=(0.8,))

    chosen = choose(found, np.array(expected), true_per_found)

    assert sorted(np.bincount(chosen.ravel())[1:].tolist()) == areas


def test_no_other_set_of_objects_has_a_higher_expected_score():
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        precisions, true_per_found = np.round(rng.random(n), 1), rng.uniform(1, 3)
        n_true = true_per_found * precisions.sum()

        def score(kept, precisions=precisions, n_true=n_true):
            found = precisions[list(kept)].sum()
            return found / max(len(kept) + n_true - found, 1e-9)

        sets = (kept for size in range(n + 1) for kept in itertools.combinations(range(n), size))
        chosen = np.flatnonzero(_maximize_score(precisions, true_per_found))
        assert score(chosen) == pytest.approx(max(map(score, sets)))


def test_what_shape_tells_is_learnt():
    rng = np.random.default_rng(1)
    known = [(labels, find_candidates(DECODER, planes)) for labels, planes in (draw(rng) for _ in range(40))]
    features = np.concatenate([found.objects for _, found in known[:30]])
    precisions = np.concatenate([true_precisions(found, labels) for labels, found in known[:30]])

    regressor = Regressor.fit(features, precisions, feature_names(CODEC))

    for labels, found in known[30:]:
        before = score_image(labels, found.levels[0]).mean
        after = score_image(labels, choose(found, Regressor(regressor.text).predict(found.objects), 1.2)).mean
        assert after >= before
        assert after > 0.95


def test_an_empty_image_has_nothing_to_choose():
    found = find_candidates(DECODER, np.zeros((2, 9, 9), np.float32))

    assert len(found.levels) == 1
    assert found.objects.shape == (0, len(feature_names(CODEC)))
    assert true_precisions(found, np.ones((9, 9), np.int32)).size == 0
    assert not choose(found, np.zeros(0), 0.5).any()


@pytest.mark.parametrize(("codec", "single"), [("mask", False), ("mask_border", True)])
def test_a_decoding_without_seeds_is_refused(codec, single):
    with pytest.raises(ConfigError, match="has no seeds"):
        refuse_without_seeds(Decoder(CODECS[codec], DecodeSettings(single_object=single)))


def test_nothing_to_learn_from_and_what_is_no_model_are_refused():
    with pytest.raises(ConfigError, match="no object to learn from"):
        Regressor.fit(np.empty((0, 3), np.float32), np.empty(0), list("abc"))
    with pytest.raises(ConfigError, match="not a LightGBM model"):
        Regressor("tree")
