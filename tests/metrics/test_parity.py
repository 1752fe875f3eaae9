"""Our scores beside those of StarDist, Cellpose and the DSB2018 forum: equal, except where docs/scores.md says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.masks.labels import relabel
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.score import score_image, score_overlap
from kaggle_unet.types import Overlap
from tests import realdata, strategies

pytestmark = pytest.mark.rivals

THRESHOLDS = [k / 20 for k in range(10, 20)]
# The libraries want IoUs that reach a threshold. Of images below 50,000 pixels none lies within 1e-6 above one.
ABOVE_THRESHOLDS = [threshold + 1e-6 for threshold in THRESHOLDS]


@pytest.fixture(scope="module")
def stardist():
    import stardist.matching

    return stardist.matching


@pytest.fixture(scope="module")
def cellpose():
    import cellpose.metrics

    return cellpose.metrics


def row(*numbers):
    return np.array([numbers], dtype=np.int32)


def score_by_histogram(true, pred, thresholds=THRESHOLDS):
    """Score an image as the kernels of the DSB2018 forum do."""
    n_true, n_pred = len(np.unique(true)), len(np.unique(pred))
    intersection = np.histogram2d(true.flatten(), pred.flatten(), bins=(n_true, n_pred))[0]
    areas_true, areas_pred = np.histogram(true, bins=n_true)[0], np.histogram(pred, bins=n_pred)[0]
    union = areas_true[:, None] + areas_pred[None, :] - intersection
    iou = intersection[1:, 1:] / np.maximum(union[1:, 1:], 1e-9)
    precisions = []
    for threshold in thresholds:
        matches = iou > threshold
        tp = np.sum(matches.sum(axis=1) == 1)
        fp, fn = np.sum(matches.sum(axis=0) == 0), np.sum(matches.sum(axis=1) == 0)
        precisions.append(tp / (tp + fp + fn))
    return np.mean(precisions)


def assert_equals_stardist(found, theirs):
    assert (found.tp, found.fp, found.fn) == (theirs.tp, theirs.fp, theirs.fn)
    expected = (theirs.accuracy, theirs.precision, theirs.recall, theirs.f1)
    assert (found.ap_pooled, found.precision, found.recall, found.f1) == pytest.approx(expected)
    expected = (theirs.panoptic_quality, theirs.mean_matched_score)
    assert (found.pq, found.mean_matched_iou) == pytest.approx(expected, rel=1e-6)  # StarDist divides in float32


def assert_equals_cellpose(rows, theirs, image):
    _, tp, fp, fn = theirs
    assert [(found.tp, found.fp, found.fn) for found in rows.itertuples()] == list(
        zip(tp[image], fp[image], fn[image], strict=True)
    )


@st.composite
def consecutive_pairs(draw):
    """Draw two labels with a pixel of background each: what all rivals score."""
    true, pred = (relabel(labels) for labels in draw(strategies.pairs(max_side=12, max_id=6)))
    return tuple(np.pad(labels, ((0, 1), (0, 0))) for labels in (true, pred))


@given(st.lists(strategies.pairs(max_side=12, max_id=6), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_stardist_gives_the_same_figures(stardist, pairs):
    trues, preds = zip(*pairs, strict=True)
    pooled = stardist.matching_dataset(trues, preds, THRESHOLDS, show_progress=False)
    by_image = stardist.matching_dataset(trues, preds, THRESHOLDS, by_image=True, show_progress=False)

    for found, theirs, averaged in zip(summarize(pairs).itertuples(), pooled, by_image, strict=True):
        assert_equals_stardist(found, theirs)
        assert found.ap_per_image == pytest.approx(averaged.accuracy)


@given(strategies.pairs(max_side=12, max_id=6))
@settings(max_examples=100, deadline=None)
def test_stardist_gives_the_competitions_counts_with_thresholds_a_hair_higher(stardist, pair):
    theirs = stardist.matching(*pair, ABOVE_THRESHOLDS)

    for found, expected in zip(summarize([pair], strict=True).itertuples(), theirs, strict=True):
        assert_equals_stardist(found, expected)
    if pair[0].any() or pair[1].any():
        assert score_image(*pair).mean == pytest.approx(np.mean([expected.accuracy for expected in theirs]))


@given(st.lists(consecutive_pairs(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_cellpose_gives_the_same_counts(cellpose, pairs):
    pairs = [pair for pair in pairs if pair[0].any() or pair[1].any()] or [(row(0, 1), row(0, 1))]
    trues, preds = map(list, zip(*pairs, strict=True))
    theirs = cellpose.average_precision(trues, preds, THRESHOLDS)

    for image, pair in enumerate(pairs):
        assert_equals_cellpose(summarize([pair]), theirs, image)
    assert summarize(pairs).ap_per_image.tolist() == pytest.approx(theirs[0].mean(axis=0).tolist())
    strict = cellpose.average_precision(trues, preds, ABOVE_THRESHOLDS)[0]
    assert [score_image(*pair).mean for pair in pairs] == pytest.approx(strict.mean(axis=1).tolist())


@given(consecutive_pairs())
@settings(max_examples=100, deadline=None)
def test_the_forums_kernel_gives_the_same_score(pair):
    true, pred = pair
    if true.any() or pred.any():
        assert score_image(true, pred).mean == pytest.approx(score_by_histogram(true, pred))


def predictions(labels):
    """Make the mistakes that networks make: warp, shift, drop, merge and split."""
    y, x = np.indices(labels.shape)
    warped_y, warped_x = y + np.rint(2 * np.sin(x / 9)).astype(int), x + np.rint(2 * np.cos(y / 7)).astype(int)
    return (
        labels[np.clip(warped_y, 0, len(labels) - 1), np.clip(warped_x, 0, labels.shape[1] - 1)],
        np.roll(labels, (2, -1), axis=(0, 1)),
        labels * (labels % 3 > 0),
        (labels + 1) // 2,
        np.where(labels > 0, 2 * labels - x // 7 % 2, 0).astype(np.int32),
    )


@pytest.mark.realdata
def test_scores_of_all_real_labels_equal_the_libraries(real_data, stardist, cellpose):
    for index, true in enumerate(realdata.dsb2018_labels(real_data)[0].values()):
        preds = predictions(true)
        for pred in preds:
            for found, theirs in zip(
                summarize([(true, pred)]).itertuples(), stardist.matching(true, pred, THRESHOLDS), strict=True
            ):
                assert_equals_stardist(found, theirs)
        # One mistake each for the slower ones; without gaps, of which Cellpose warns.
        pred = relabel(preds[index % len(preds)])
        theirs = cellpose.average_precision([true], [pred], THRESHOLDS)
        assert_equals_cellpose(summarize([(true, pred)]), theirs, 0)
        assert score_image(true, pred).mean == pytest.approx(score_by_histogram(true, pred))


# The known differences, in the order of the table in docs/scores.md.


def test_at_exactly_the_threshold_the_libraries_match_and_the_competitions_do_not(stardist, cellpose):
    true = row(*[1] * 20, 0)
    for k, threshold in zip(range(10, 20), THRESHOLDS, strict=True):
        pred = row(*[1] * k, *[0] * (20 - k), 0)

        assert stardist.matching(true, pred, threshold).tp == 1
        assert cellpose.average_precision(true, pred, threshold)[1] == 1
        assert summarize([(true, pred)]).iloc[k - 10].tp == 1
        assert score_image(true, pred).tp[k - 10] == 0
        assert score_by_histogram(true, pred, [threshold]) == 0


def test_thresholds_summed_up_from_floats_are_above_their_fractions(cellpose):
    true, pred = row(1, 1, 1, 1, 1, 0), row(1, 1, 1, 0, 0, 0)
    summed = np.arange(0.5, 1, 0.05)

    assert (summed > THRESHOLDS).tolist() == [False] * 2 + [True] * 8
    assert cellpose.average_precision(true, pred, [0.6, summed[2]])[1].tolist() == [1, 0]
    assert summarize([(true, pred)]).iloc[2].tp == 1


def test_a_float32_is_too_coarse_for_large_instances(stardist):
    shared, united = 55 * 10**6 - 1, 10**8
    ours = Overlap(*(np.array([n]) for n in (united, shared, 0, 0, shared)))

    assert stardist.intersection_over_union(np.array([[0, 0], [united - shared, shared]]))[1, 1] >= 0.55
    assert summarize([ours]).iloc[1].tp == score_overlap(ours).tp[1] == 0


def test_counts_are_pooled_or_averaged(stardist, cellpose):
    # One of nine nuclei, and the only one.
    pairs = [(row(*range(10)), row(0, 1, *[0] * 8)), (row(0, 1), row(0, 1))]
    trues, preds = map(list, zip(*pairs, strict=True))
    found = summarize(pairs).iloc[0]

    pooled = stardist.matching_dataset(trues, preds, 0.5, show_progress=False).accuracy
    assert pooled == pytest.approx(found.ap_pooled) == pytest.approx(2 / 10)
    averaged = cellpose.average_precision(trues, preds, 0.5)[0].mean()
    assert averaged == pytest.approx(found.ap_per_image) == pytest.approx((1 / 9 + 1) / 2)


def test_two_empty_images_are_one_zero_or_no_number(stardist, cellpose):
    empty = row(0, 0)

    assert score_image(empty, empty).mean == 1
    assert summarize([(empty, empty)]).iloc[0].ap_per_image == stardist.matching(empty, empty).accuracy == 0
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(cellpose.average_precision(empty, empty, 0.5)[0])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(score_by_histogram(empty, empty))


def test_without_background_the_others_lose_an_instance(stardist, cellpose):
    true, pred = row(1, 1, 2, 2), row(1, 2, 2, 2)

    assert summarize([(true, pred)]).iloc[0].ap_pooled == stardist.matching(true, pred).accuracy == 1
    with pytest.warns(RuntimeWarning):
        ap, _, _, fn = cellpose.average_precision(true, pred, 0.5)
    assert (ap, fn) == (np.inf, -1)
    # IoUs 1/2 and 2/3; the first instance is taken for background.
    assert score_image(true, pred).mean == pytest.approx(4 / 10 / 3)
    assert score_by_histogram(true, pred) == pytest.approx(4 / 10)


def test_ids_with_gaps_are_lost_by_the_forums_kernel_only(stardist, cellpose):
    true, pred = row(1, 0, 7), row(300, 0, 2)

    assert score_image(true, pred).mean == stardist.matching(true, pred).accuracy == 1
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert cellpose.average_precision(true, pred, 0.5)[0] == 1
    assert score_by_histogram(true, pred) == 0


def test_different_shapes_are_scored_by_some_where_the_pixels_are_as_many(stardist, cellpose):
    pair = row(0, 1), row(0, 1).T

    assert cellpose.average_precision(*pair, 0.5)[0] == score_by_histogram(*pair) == 1
    with pytest.raises(ValueError, match="different shapes"):
        stardist.matching(*pair)
