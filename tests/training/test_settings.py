import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.training.settings import ScheduleSettings, SwaSettings, TrainingSettings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 2, "schedule": ScheduleSettings(name="snapshots", cycles=3)}, "a cycle is at least one epoch"),
        ({"epochs": 2, "swa": SwaSettings(from_epoch=3)}, "nothing would be averaged"),
        ({"batch": 2, "accumulate": 3}, "a part has at least one"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        TrainingSettings(**changes)


def test_averages_are_off_and_empty_ones_have_defaults():
    assert (TrainingSettings().ema, TrainingSettings().swa) == (None, None)
    assert TrainingSettings.model_validate({"ema": {}}).ema.decay == 0.999
