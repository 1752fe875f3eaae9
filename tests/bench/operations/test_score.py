"""The DSB2018 score of one image, against the forum's kernel and two libraries at ten thresholds."""

from functools import partial

import numpy as np
import pytest
from cellpose.metrics import average_precision
from stardist.matching import matching

from kaggle_unet.metrics.score import score_image
from tests.bench.cases import ALL, describe
from tests.bench.drawn import draw_prediction
from tests.bench.race import Rival

pytestmark = pytest.mark.bench

# The competition wants IoUs above its thresholds, the libraries take equal ones too: a hair more makes them agree.
THRESHOLDS = [twentieths / 20 + 1e-6 for twentieths in range(10, 20)]


def by_histogram(true, pred):
    """Score as the kernels of the DSB2018 forum do: a two-dimensional histogram of both labels."""
    n_true, n_pred = len(np.unique(true)), len(np.unique(pred))
    intersection = np.histogram2d(true.flatten(), pred.flatten(), bins=(n_true, n_pred))[0]
    area_true, area_pred = np.histogram(true, bins=n_true)[0], np.histogram(pred, bins=n_pred)[0]
    union = area_true[:, None] + area_pred[None, :] - intersection
    iou = intersection[1:, 1:] / np.maximum(union[1:, 1:], 1e-9)
    return np.mean([_precision_at(iou, threshold) for threshold in THRESHOLDS])


def _precision_at(iou, threshold):
    matches = iou > threshold
    tp = np.sum(matches.sum(axis=1) == 1)
    fp, fn = np.sum(matches.sum(axis=0) == 0), np.sum(matches.sum(axis=1) == 0)
    return tp / (tp + fp + fn)


def by_stardist(true, pred):
    return np.mean([found.accuracy for found in matching(true, pred, THRESHOLDS)])


def by_cellpose(true, pred):
    return average_precision(true, pred, THRESHOLDS)[0].mean()


def score(true, pred):
    return score_image(true, pred).mean


def check(ours, theirs):
    assert theirs == pytest.approx(ours, abs=1e-6)


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Let StarDist's own loops be compiled before they are timed."""
    by_stardist(np.eye(4, dtype=np.int32), np.eye(4, dtype=np.int32))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_dsb_score(race, case, labels):
    pred = draw_prediction(np.random.default_rng(1), labels)
    n_pairs = (int(labels.max()) + 1) * (int(pred.max()) + 1)
    rivals = [
        Rival("histogram2d kernel", partial(by_histogram, labels, pred), labels.size + n_pairs,
              48 * labels.size + 40 * n_pairs, check),
        Rival("stardist", partial(by_stardist, labels, pred), labels.size + 10 * n_pairs,
              16 * labels.size + 48 * n_pairs, check),
        Rival("cellpose", partial(by_cellpose, labels, pred), labels.size + 10 * n_pairs,
              40 * labels.size + 48 * n_pairs, check),
    ]  # fmt: skip

    race(describe("dsb-score", case, labels), partial(score, labels, pred), rivals)
