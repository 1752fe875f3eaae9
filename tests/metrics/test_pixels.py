from collections import Counter

import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given, settings

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.metrics.matching import match
from kaggle_unet.metrics.pixels import (
    OF_MASKS,
    SCORES,
    count_confusion,
    count_pixels,
    dice,
    iou,
    pixel_accuracy,
    score_classes,
    tabulate_pixels,
)
from tests import strategies

EMPTY, LEFT, BOTH = (np.array([pixels], dtype=bool) for pixels in ([0, 0], [1, 0], [1, 1]))


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        (EMPTY, EMPTY, (1, 1)),
        (EMPTY, LEFT, (0, 0)),
        (LEFT, EMPTY, (0, 0)),
        (LEFT, BOTH, (1 / 2, 2 / 3)),
    ],
)
def test_scores_follow_the_table(true, pred, expected):
    assert (iou(true, pred), dice(true, pred)) == pytest.approx(expected)


def test_labels_count_as_the_mask_of_all_instances():
    assert iou(np.array([[1, 2, 0]]), np.array([[5, 5, 0]])) == 1


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) but predicted one \(2, 1\)"):
        iou(LEFT, LEFT.T)


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_dice_follows_from_iou(pair):
    assert dice(*pair) == pytest.approx(2 * iou(*pair) / (1 + iou(*pair)))


@given(strategies.pairs())
@settings(max_examples=50, deadline=None)
def test_scores_are_ones_less_the_distances_of_scipy(pair):
    true, pred = ((labels > 0).ravel() for labels in pair)

    assert iou(*pair) == pytest.approx(1 - scipy.spatial.distance.jaccard(true, pred))
    if true.any() or pred.any():
        assert dice(*pair) == pytest.approx(1 - scipy.spatial.distance.dice(true, pred))


@given(strategies.pairs())
@settings(max_examples=20, deadline=None)
def test_memory_order_and_type_do_not_matter(pair):
    expected = count_pixels(*pair)
    true, pred = (labels > 0 for labels in pair)

    assert count_pixels(np.asfortranarray(true), pred) == expected
    assert count_pixels(true[::-1, ::-1], pair[1][::-1, ::-1].astype(np.uint16)) == expected


def test_smooth_forms_add_pixels_to_both_sides():
    assert (iou(LEFT, BOTH, smooth=1), dice(LEFT, BOTH, smooth=1)) == (2 / 3, 3 / 4)
    assert iou(EMPTY, LEFT, smooth=1) == 1 / 2
    with pytest.raises(ConfigError, match=r"smooth is -1; expected pixels to add"):
        dice(LEFT, BOTH, smooth=-1)


@given(strategies.pairs())
def test_accuracy_is_the_fraction_of_pixels_on_which_both_agree(pair):
    true, pred = (labels > 0 for labels in pair)
    assert pixel_accuracy(*pair) == (true == pred).mean()


@given(strategies.pairs())
def test_a_confusion_counts_every_pair_of_classes(pair):
    counts = Counter(zip(*(labels.ravel().tolist() for labels in pair), strict=True))
    assert count_confusion(*pair, "abcdef").tolist() == [[counts[true, pred] for pred in range(6)] for true in range(6)]
    true, pred = ((labels > 0).astype(int) for labels in pair)
    assert count_confusion(*pair).tolist() == count_confusion(true, pred, ("no", "yes")).tolist()


def test_pixels_of_no_known_class_are_in_no_confusion_and_other_ids_are_refused():
    true, pred = np.array([[0, 1, 255]]), np.array([[0, 0, 1]])
    assert count_confusion(true, pred, "ab").tolist() == [[1, 0], [1, 0]]
    with pytest.raises(DataError, match="true classes run from 0 to 2; expected 0 to 1"):
        count_confusion(np.array([[0, 2, 255]]), pred, "ab")
    with pytest.raises(DataError, match="predicted classes run from -1 to -1; expected 0 to 1"):
        count_confusion(true, pred - 1, "ab")
    with pytest.raises(DataError, match="both must be of the same image"):
        count_confusion(true, pred.T, "ab")


def test_an_image_of_classes_scores_the_mean_iou_of_those_it_has():
    # soil: 1 of 2 ∪ 1; water: 2 of 2 ∪ 3; ice is nowhere
    score = score_classes(np.array([[0, 0, 1, 1, 255]]), np.array([[0, 1, 1, 1, 2]]), ("soil", "water", "ice"))
    assert score.ious.tolist() == pytest.approx([1 / 2, 2 / 3, np.nan], nan_ok=True)
    assert score.mean == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score_classes(np.array([[255]]), np.array([[0]]), "ab").mean == 1


def test_scores_of_classes_worked_by_hand():
    # three classes; the third is nowhere. Image 1: truth 0 0 1 1, predicted 0 1 1 1. Image 2: truth 0 0, predicted 0 0
    names = ("soil", "water", "ice")
    first = count_confusion(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]]), names)
    second = count_confusion(np.array([[0, 0]]), np.array([[0, 0]]), names)
    scores, table = tabulate_pixels([first, second], names)
    assert table["class"].tolist() == ["soil", "water", "ice", "mean"]
    assert (table["true_px"].tolist(), table["predicted_px"].tolist()) == ([4, 2, 0, 6], [3, 3, 0, 6])
    expected = {
        "accuracy": (3 / 4, 1, 1),
        "iou": (3 / 4, 2 / 3, 1),
        "dice": (6 / 7, 4 / 5, 1),
        "iou_smooth": ((2 / 3 + 1) / 2, (3 / 4 + 1) / 2, 1),
        "dice_smooth": ((3 / 4 + 1) / 2, (5 / 6 + 1) / 2, 1),
    }
    for name, (soil, water, ice) in expected.items():
        assert table[name].tolist() == pytest.approx([soil, water, ice, (soil + water) / 2])
        assert scores[name] == pytest.approx(5 / 6 if name == "accuracy" else (soil + water) / 2)


@given(strategies.pairs())
def test_scores_of_a_mask_are_those_of_its_objects_and_match_has_them_in_every_row(pair):
    scores, table = tabulate_pixels([count_confusion(*pair)], OF_MASKS)
    smooth = {"iou_smooth": iou(*pair, smooth=1), "dice_smooth": dice(*pair, smooth=1)}
    exact = {"accuracy": pixel_accuracy(*pair), "iou": iou(*pair), "dice": dice(*pair)}
    assert scores == pytest.approx({**exact, **smooth})
    assert match(*pair)[[f"pixel_{name}" for name in SCORES]].drop_duplicates().to_numpy().tolist() == [
        pytest.approx([scores[name] for name in SCORES])
    ]
    assert np.isfinite(table[list(SCORES)].to_numpy()).all()
