import pytest
import torch

from kaggle_unet.training.schedules import cycle_ends, rate_factor
from kaggle_unet.training.settings import ScheduleSettings


def shares(settings, points, epochs=4, monitored_values=()):
    return [rate_factor(settings, progress=point, epochs=epochs, monitored_values=monitored_values) for point in points]


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
    assert rate_factor(ScheduleSettings(warmup_epochs=1.5, floor=0.2), progress=4, epochs=4) == pytest.approx(0.2)


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
        ([0.5, 0.4], 1),
        ([0.5, 0.4, 0.5], 0.1),
        ([0.5, 0.4, 0.6, 0.6], 1),
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5], 0.01),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], 0.01),
    ],
    ids=["none", "patient", "no longer", "better in time", "twice", "floor"],
)
def test_plateau_multiplies_after_patience_epochs_without_gain(scores, share):
    settings = ScheduleSettings(name="plateau", factor=0.1, patience=2, floor=0.01)
    assert shares(settings, [7.5], monitored_values=scores) == pytest.approx([share])


def test_plateau_counts_epochs_but_acts_on_validations():
    settings = ScheduleSettings(name="plateau", factor=0.1, patience=2)
    assert shares(settings, [5], monitored_values=[0.5, None, None, None]) == [1]
    assert shares(settings, [5], monitored_values=[0.5, None, None, 0.4]) == [0.1]
    assert shares(settings, [5], monitored_values=[0.5, None, None, 0.6]) == [1]


def test_one_cycle_is_torchs():
    settings = ScheduleSettings(name="one_cycle", rise=0.25, start=0.1, floor=0.02)
    n_steps, epochs = 400, 4
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    other = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=n_steps, pct_start=0.25, div_factor=10, final_div_factor=0.1 / 0.02
    )
    theirs = []
    for _ in range(n_steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(theirs) < n_steps:
            other.step()
    ours = shares(settings, [epochs * step / n_steps for step in range(1, n_steps + 1)], epochs)
    # torch counts from the step before, so both differ by less than a step's change
    assert ours == pytest.approx(theirs, abs=0.02)


def test_one_cycle_rises_to_the_full_rate_and_falls_to_its_floor():
    settings = ScheduleSettings(name="one_cycle", rise=0.25, start=0.2, floor=0.1, warmup_epochs=3)
    # cos is 1, 0, −1 at the halves of either way
    assert shares(settings, [0, 0.5, 1, 2.5, 4]) == pytest.approx([0.2, 0.6, 1, 0.55, 0.1])


def test_snapshots_restart_at_the_full_rate():
    settings = ScheduleSettings(name="snapshots", cycles=2, floor=0.1)
    # the last step of a cycle is at the floor, the first one of the next nearly at the full rate
    assert shares(settings, [0, 1, 2, 2 + 1e-9, 3, 4]) == pytest.approx([1, 0.55, 0.1, 1, 0.55, 0.1])


def test_the_first_cycle_begins_after_the_warm_up():
    settings = ScheduleSettings(name="snapshots", cycles=2, floor=0, warmup_epochs=1)
    assert shares(settings, [0.5, 1, 1.5, 2, 3]) == pytest.approx([0.5, 1, 0.5, 0, 0.5])


@pytest.mark.parametrize(("epochs", "cycles"), [(1, 1), (5, 5), (7, 3), (40, 4), (100, 7)])
def test_cycles_fill_the_training_and_differ_by_an_epoch_at_most(epochs, cycles):
    ends = cycle_ends(ScheduleSettings(name="snapshots", cycles=cycles), epochs)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert ends[-1] == epochs
    assert len(ends) == cycles
    assert max(lengths) - min(lengths) <= 1


def test_other_schedules_have_no_cycles():
    assert cycle_ends(ScheduleSettings(name="cosine"), 10) == []


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_plateau_is_patient_for_as_many_epochs_as_torch_s_with_one_less_and_as_early_stopping(patience):
    # torch lowers the rate after more than its patience, Keras and early stopping after it
    settings = ScheduleSettings(name="plateau", factor=0.1, patience=patience, floor=0)
    scores = [0.5, 0.6, *[0.5] * 12]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.1, patience=patience - 1, threshold=0, eps=0
    )
    rates = []
    for score in scores:
        theirs.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    ours = [shares(settings, [n], monitored_values=scores[:n])[0] for n in range(1, len(scores) + 1)]
    assert ours == pytest.approx(rates)
    assert ours.index(0.1) == 1 + patience
