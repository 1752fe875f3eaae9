import pytest

from kaggle_unet.training.schedules import rate_share
from kaggle_unet.training.settings import ScheduleSettings


def shares(settings, points, epochs=4, scores=()):
    return [rate_share(settings, progress=point, epochs=epochs, scores=scores) for point in points]


def test_constant_is_constant():
    assert shares(ScheduleSettings(name="constant"), [0.01, 1, 4]) == [1, 1, 1]


@pytest.mark.parametrize("name", ["constant", "cosine", "exponential"])
def test_a_warm_up_grows_in_a_line_and_is_over_in_time(name):
    settings = ScheduleSettings(name=name, warmup_epochs=2)
    assert shares(settings, [0.5, 1, 1.5, 2]) == [0.25, 0.5, 0.75, 1]


def test_cosine_falls_to_its_floor_with_the_last_step():
    settings = ScheduleSettings(name="cosine", floor=0.1)
    # cos is 1, √½, 0, −√½, −1 at the quarters
    assert shares(settings, [0, 1, 2, 3, 4]) == pytest.approx([1, 0.86820, 0.55, 0.23180, 0.1], abs=1e-5)


def test_cosine_reaches_its_floor_after_a_warm_up_too():
    assert rate_share(ScheduleSettings(warmup_epochs=1.5, floor=0.2), progress=4, epochs=4) == pytest.approx(0.2)


def test_a_warm_up_longer_than_the_training_is_no_error():
    assert shares(ScheduleSettings(warmup_epochs=8), [4]) == [0.5]


def test_exponential_changes_between_epochs_only():
    settings = ScheduleSettings(name="exponential", factor=0.5, floor=0.2)
    assert shares(settings, [0.01, 0.5, 1, 1.01, 2, 2.01, 3.5]) == [1, 1, 1, 0.5, 0.5, 0.25, 0.2]


def test_exponential_counts_from_the_end_of_the_warm_up():
    settings = ScheduleSettings(name="exponential", factor=0.5, warmup_epochs=1, floor=0)
    assert shares(settings, [1, 1.5, 2, 2.5]) == [1, 1, 1, 0.5]


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([], 1),
        ([0.5, 0.4, 0.4], 1),
        ([0.5, 0.4, 0.4, 0.5], 0.1),
        ([0.5, 0.4, 0.4, 0.6, 0.6], 1),
        ([0.5, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 0.01),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], 0.01),
    ],
    ids=["none", "patient", "no longer", "better in time", "twice", "floor"],
)
def test_plateau_multiplies_after_more_than_patience_epochs_without_gain(scores, share):
    settings = ScheduleSettings(name="plateau", factor=0.1, patience=2, floor=0.01)
    assert shares(settings, [7.5], scores=scores) == pytest.approx([share])


def test_plateau_counts_epochs_but_acts_on_validations():
    settings = ScheduleSettings(name="plateau", factor=0.1, patience=2)
    assert shares(settings, [5], scores=[0.5, None, None, None]) == [1]
    assert shares(settings, [5], scores=[0.5, None, None, 0.4]) == [0.1]
    assert shares(settings, [5], scores=[0.5, None, None, 0.6]) == [1]
