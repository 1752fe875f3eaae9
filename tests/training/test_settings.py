import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.settings import ScheduleSettings, SwaSettings, TrainingSettings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 2, "schedule": ScheduleSettings(name="snapshots", cycles=3)}, "a cycle is at least one epoch"),
        ({"epochs": 2, "swa": SwaSettings(from_epoch=3)}, "nothing would be averaged"),
        ({"epochs": 2, "schedule": ScheduleSettings(warmup_epochs=2)}, "warmup_epochs is 2, .* falls until epoch 2"),
        (
            {"epochs": 10, "schedule": ScheduleSettings(name="snapshots", cycles=3, warmup_epochs=3.5)},
            "warmup_epochs is 3.5, .* falls until epoch 3",
        ),
        ({"batch": 2, "accumulate": 3}, "a part has at least one"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        TrainingSettings(**changes)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "cosine", "warmup_epochs": 1.5},
        {"name": "constant", "warmup_epochs": 2},
        {"name": "snapshots", "cycles": 2, "warmup_epochs": 0.5},
    ],
)
def test_a_warm_up_before_the_rate_falls_is_accepted(schedule):
    assert TrainingSettings(epochs=2, schedule=ScheduleSettings(**schedule)).epochs == 2


def test_averages_are_off_and_empty_ones_have_defaults():
    assert (TrainingSettings().ema, TrainingSettings().swa) == (None, None)
    assert TrainingSettings.model_validate({"ema": {}}).ema.decay == 0.999
