import pytest

from kaggle_unet.training.history import (
    best_row,
    blank_validations,
    is_validated,
    monitored_values,
    validations_without_gain,
)


def rows(*pairs):
    return [
        {"epoch": epoch, "valid_score": pair and pair[0], "valid_loss": pair and pair[1]}
        for epoch, pair in enumerate(pairs, 1)
    ]


@pytest.mark.parametrize(
    ("pairs", "best"),
    [
        ([(0.2, 1.0), (0.4, 3.0), (0.3, 0.1)], 2),
        ([(0.4, 2.0), (0.4, 1.0), (0.4, 1.5)], 2),
        ([(0.4, 1.0), (0.4, 1.0)], 1),
        ([None, (0.0, 9.0), None], 2),
    ],
    ids=["score", "loss of ties", "first of ties", "unvalidated"],
)
def test_the_best_epoch(pairs, best):
    assert best_row(rows(*pairs))["epoch"] == best


def test_without_a_validation_nothing_is_best():
    assert best_row(rows(None, None)) is None
    assert best_row([]) is None
    assert not is_validated(rows(None)[0])


@pytest.mark.parametrize(
    ("pairs", "n"),
    [
        ([], 0),
        ([(0.1, 1.0)], 0),
        ([(0.3, 1.0), (0.2, 1.0), (0.3, 0.5)], 2),
        ([(0.3, 1.0), None, (0.2, 1.0), None], 1),
        ([(0.3, 1.0), (0.2, 1.0), (0.4, 1.0)], 0),
    ],
)
def test_validations_since_the_highest_score_was_first_reached(pairs, n):
    assert validations_without_gain(rows(*pairs)) == n


def test_the_loss_may_decide_instead():
    history = rows((0.2, 1.0), (0.4, 3.0), (0.1, 1.0), None)
    assert monitored_values(history, "loss") == [-1.0, -3.0, -1.0, None]
    # of equal losses the higher score
    assert best_row(history, "loss")["epoch"] == 1
    assert validations_without_gain(history, "loss") == 2
    assert validations_without_gain(history, "score") == 1


@pytest.mark.parametrize(("counts", "n"), [([], 0), ([0], 1), ([0, 3], 0), ([3, 0, 0], 2), ([0, 1, 0], 1)], ids=str)
def test_validations_that_found_nothing_are_counted_from_the_end(counts, n):
    history = [{"valid_score": 0.0, "valid_objects": count} for count in counts]
    assert blank_validations([*history, {"valid_score": None, "valid_objects": None}]) == n


def test_an_older_history_counts_no_objects():
    assert blank_validations([{"valid_score": 0.0}]) == 0
