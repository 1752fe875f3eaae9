import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.errors import ConfigError, KitError, ResourceError
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.training.device import DeviceConfig
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import EpochDone, StepDone
from kaggle_unet.training.settings import (
    EmaSettings,
    OptimizerSettings,
    ScheduleSettings,
    SwaSettings,
    TrainingSettings,
)
from kaggle_unet.training.validate import ValidationResult
from tests.training.tiny import ENCODING, draw_sample

CONFIG = {"training": {"epochs": 4, "workers": 0, "threads": 1}, "model": {"name": "tiny"}}
TIMES = ("seconds", "images_per_s")


def make_settings(**changes):
    fields = {
        "epochs": 4,
        "batch": 2,
        "optimizer": OptimizerSettings(name="adam", learning_rate=1e-2),
        "precision": "32",
        "threads": 1,
        **changes,
    }
    return TrainingSettings(**fields)


def without_times(history):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]


def answers(*pairs):
    """A judge that gives these (score, loss), one per validation."""
    left = iter(pairs)

    def validate_model(predict):
        score, loss = next(left)
        return ValidationResult(loss, score, {})

    return validate_model


def interrupt_in(epoch):
    """Press Ctrl-C after the second step of an epoch."""
    now = SimpleNamespace(epoch=1)

    def on_event(event):
        if isinstance(event, EpochDone):
            now.epoch = event.row["epoch"] + 1
        if isinstance(event, StepDone) and now.epoch == epoch and event.step == 2:
            raise KeyboardInterrupt

    return on_event


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": OptimizerSettings(name="sgd", learning_rate=0.1), "schedule": ScheduleSettings(name="plateau")},
        {"precision": "bf16", "clip_norm": 0.1, "validate_every": 3},
        {"ema": EmaSettings(decay=0.8), "swa": SwaSettings(from_epoch=2), "accumulate": 2},
        {"schedule": ScheduleSettings(name="snapshots", cycles=2), "monitor": "loss"},
    ],
    ids=["adam, cosine", "sgd, plateau", "bf16, clipped", "averages", "snapshots"],
)
def test_a_resumed_training_ends_where_an_uninterrupted_one_ends(parts, tmp_path, changes):
    settings = make_settings(**changes)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    straight = fit_fold(parts, settings, folder=whole, config=CONFIG)
    with pytest.raises(KeyboardInterrupt):
        fit_fold(parts, settings, folder=broken, config=CONFIG, on_event=interrupt_in(3))
    assert load_checkpoint(broken / "last.safetensors")["epoch"] == 2
    torch.manual_seed(99)
    resumed = fit_fold(parts, settings, folder=broken, config=CONFIG, resume=True)
    assert without_times(resumed.history) == without_times(straight.history)
    names = sorted(path.name for path in whole.glob("*.safetensors"))
    assert names == sorted(path.name for path in broken.glob("*.safetensors"))
    for name in names:
        one, other = (load_checkpoint(folder / name) for folder in (whole, broken))
        for checkpoint in (one, other):
            checkpoint["history"] = without_times(checkpoint["history"])
            del checkpoint["sha256"]  # of a file with times
        assert_same(one, other)


def test_a_fit_learns_and_leaves_its_files(parts, tmp_path):
    result = fit_fold(parts, make_settings(epochs=6), folder=tmp_path / "run" / "fold0", config=CONFIG)
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert (result.epochs, result.stopped_by) == (6, "epochs")
    lines = (tmp_path / "run" / "fold0" / "metrics.csv").read_text().splitlines()
    assert lines[0] == (
        "epoch,lr,train_loss,train_cross_entropy,train_dice,valid_loss,valid_score,valid_objects,"
        "valid_accuracy,valid_iou,valid_dice,valid_iou_smooth,valid_dice_smooth,seconds,images_per_s"
    )
    assert [line.split(",")[0] for line in lines[1:]] == list("123456")
    accuracy, iou, dice = map(float, lines[-1].split(",")[8:11])
    assert accuracy <= 1
    assert dice == pytest.approx(2 * iou / (1 + iou))
    best = load_checkpoint(tmp_path / "run" / "fold0" / "best.safetensors")
    assert (best["epoch"], best["score"], best["config"]) == (result.best_epoch, result.best_score, CONFIG)


def test_the_same_seed_gives_the_same_weights_and_another_others(parts, tmp_path):
    def weights(name, seed):
        fit_fold(parts, make_settings(epochs=1, seed=seed), folder=tmp_path / name, config=CONFIG)
        return load_checkpoint(tmp_path / name / "last.safetensors")["model"]

    first = weights("a", 0)
    assert_same(first, weights("b", 0))
    assert not torch.equal(first["0.weight"], weights("c", 1)["0.weight"])


def test_best_is_the_highest_score_and_of_ties_the_lowest_loss(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.5, 2.0), (0.5, 1.5), (0.4, 0.1)))
    events = []
    result = fit_fold(parts, make_settings(), folder=tmp_path, config=CONFIG, on_event=events.append)
    assert (result.best_epoch, result.best_score) == (3, 0.5)
    assert load_checkpoint(tmp_path / "best.safetensors")["epoch"] == 3
    assert load_checkpoint(tmp_path / "last.safetensors")["epoch"] == 4
    assert [event.is_best for event in events if isinstance(event, EpochDone)] == [True, True, True, False]


def test_early_stopping_counts_validations_without_a_better_score(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.5, 2.0), (0.5, 1.5), (0.4, 0.1), (0.9, 0.0)))
    result = fit_fold(parts, make_settings(epochs=9, early_stopping=2), folder=tmp_path, config=CONFIG)
    assert (result.epochs, result.stopped_by, result.best_epoch) == (4, "early stopping", 3)


@pytest.mark.parametrize(("seconds", "epochs"), [(30, 2), (60, 1), (7, 5)])
def test_no_epoch_begins_after_so_many_minutes(parts, tmp_path, monkeypatch, seconds, epochs):
    clock = (float(epoch + passed) for epoch in range(0, 10**6, seconds) for passed in (0, seconds, seconds))
    monkeypatch.setattr("kaggle_unet.training.fold.time.perf_counter", lambda: next(clock))  # start, trained, validated
    settings = make_settings(epochs=9, minutes=seconds * epochs / 60, validate_every=9)
    result = fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert (result.epochs, result.stopped_by) == (epochs, "time")
    assert [row["valid_score"] is not None for row in result.history] == [False] * (epochs - 1) + [True]


def test_early_stopping_and_the_best_may_follow_the_loss(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.5, 0.5), (0.6, 0.7), (0.7, 0.6), (0.9, 0.0)))
    settings = make_settings(epochs=9, early_stopping=2, monitor="loss")
    result = fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert (result.epochs, result.stopped_by, result.best_epoch, result.best_score) == (4, "early stopping", 2, 0.5)
    assert load_checkpoint(tmp_path / "best.safetensors")["epoch"] == 2


def test_the_ends_of_cycles_are_validated_and_kept(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.2, 1.0), (0.1, 1.0)))
    settings = make_settings(epochs=5, validate_every=4, schedule=ScheduleSettings(name="snapshots", cycles=2, floor=0))
    result = fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert [row["valid_score"] for row in result.history] == [None, 0.3, None, 0.2, 0.1]
    assert [row["lr"] for row in result.history] == pytest.approx([5e-3, 0, 7.5e-3, 2.5e-3, 0], abs=1e-9)
    assert result.others == {"snapshot1.safetensors": 0.3, "snapshot2.safetensors": 0.1}
    found = [load_checkpoint(tmp_path / name) for name in result.others]
    assert [(snapshot["epoch"], snapshot["score"], "optimizer" in snapshot) for snapshot in found] == [
        (2, 0.3, False),
        (5, 0.1, False),
    ]
    assert not torch.equal(found[0]["model"]["0.weight"], found[1]["model"]["0.weight"])


def test_validation_comes_every_few_epochs_and_at_the_end(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.2, 1.0)))
    result = fit_fold(parts, make_settings(epochs=5, validate_every=3), folder=tmp_path, config=CONFIG)
    assert [row["valid_score"] for row in result.history] == [None, None, 0.3, None, 0.2]
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].split(",")[5:7] == ["", ""]


def test_the_rate_follows_the_schedule(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.2, 1.0), (0.2, 1.0), (0.2, 1.0)))
    schedule = ScheduleSettings(name="plateau", patience=0, factor=0.1, floor=0.001)
    result = fit_fold(parts, make_settings(schedule=schedule), folder=tmp_path, config=CONFIG)
    assert [row["lr"] for row in result.history] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4])
    assert load_checkpoint(tmp_path / "last.safetensors")["optimizer"]["param_groups"][0]["lr"] == pytest.approx(1e-4)


def test_steps_are_counted_into_the_schedule(parts, tmp_path):
    schedule = ScheduleSettings(name="constant", warmup_epochs=2)
    result = fit_fold(parts, make_settings(epochs=1, schedule=schedule), folder=tmp_path, config=CONFIG)
    # the only epoch ends half-way up
    assert result.history[0]["lr"] == pytest.approx(5e-3)
    assert load_checkpoint(tmp_path / "last.safetensors")["optimizer"]["param_groups"][0]["lr"] == pytest.approx(5e-3)


def test_gradients_are_clipped_as_the_settings_say(parts, tmp_path):
    network = parts.build_model()
    before = network[0].weight.detach().clone()
    settings = make_settings(epochs=1, clip_norm=1e-6, optimizer=OptimizerSettings(name="sgd", learning_rate=0.1))
    fit_fold(dataclasses.replace(parts, build_model=lambda: network), settings, folder=tmp_path, config=CONFIG)
    torch.testing.assert_close(network[0].weight, before, atol=1e-5, rtol=0)


def test_events_report_the_device_every_step_and_every_epoch(parts, tmp_path):
    events = []
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG, on_event=events.append)
    assert [type(event) for event in events] == [DeviceConfig, StepDone, StepDone, StepDone, EpochDone]
    assert [(event.step, event.n_steps, event.images) for event in events[1:4]] == [(1, 3, 2), (2, 3, 2), (3, 3, 1)]
    assert events[4].row["epoch"] == 1


def test_dropout_is_off_while_validating(parts, tmp_path):
    modes = []

    def validate_model(predict):
        modes.append([module.training for module in network.modules()])
        return ValidationResult(1.0, 0.5, {})

    network = parts.build_model()
    parts = dataclasses.replace(parts, build_model=lambda: network, validate=validate_model)
    fit_fold(parts, make_settings(epochs=2), folder=tmp_path, config=CONFIG)
    assert not any(any(flags) for flags in modes)
    assert len(modes) == 2


class _Failing(nn.Module):
    """A loss that is not a number from some step on."""

    def __init__(self, loss, good_steps):
        super().__init__()
        self.loss, self.left = loss, good_steps

    def forward(self, logits, planes, weights):
        value, parts = self.loss(logits, planes, weights)
        self.left -= logits.requires_grad
        return (value, parts) if self.left >= 0 else (value * float("nan"), parts)


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(parts, tmp_path):
    parts = dataclasses.replace(parts, loss=_Failing(parts.loss, good_steps=4))
    with pytest.raises(KitError, match=r"epoch 2, step 2: the loss is nan .* on the samples t\d, t\d;"):
        fit_fold(parts, make_settings(), folder=tmp_path, config=CONFIG)
    checkpoint = load_checkpoint(tmp_path / "last.safetensors")
    assert checkpoint["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in checkpoint["model"].values())


def test_a_validation_loss_that_is_not_finite_is_an_error_too(parts, tmp_path):
    parts = dataclasses.replace(parts, validate=answers((0.3, 1.0), (0.4, float("nan"))))
    with pytest.raises(KitError, match="epoch 2: the validation loss is nan"):
        fit_fold(parts, make_settings(), folder=tmp_path, config=CONFIG)
    assert load_checkpoint(tmp_path / "best.safetensors")["epoch"] == 1


def test_there_must_be_something_to_resume(parts, tmp_path):
    with pytest.raises(ConfigError, match=r"last.safetensors does not exist, so there is nothing to resume"):
        fit_fold(parts, make_settings(), folder=tmp_path / "fold0", config=CONFIG, resume=True)
    assert not (tmp_path / "fold0").exists()


def test_a_run_is_not_begun_over_another(parts, tmp_path):
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(
        ConfigError,
        match=r"already holds last\.safetensors; pass --resume .resume=True in Python. to continue it",
    ):
        fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_another_config_is_not_resumed_and_every_difference_is_named(parts, tmp_path):
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    changed = {"training": {"epochs": 9, "workers": 2, "threads": 8}, "model": {"name": "huge"}}
    with pytest.raises(ConfigError) as caught:
        fit_fold(parts, make_settings(epochs=9), folder=tmp_path, config=changed, resume=True)
    assert str(caught.value).splitlines()[1:] == [
        "  - model.name: was 'tiny', is 'huge'",
        "  - training.epochs: was 4, is 9",
    ]


def test_what_an_older_version_did_not_know_is_no_difference(parts, tmp_path):
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    newer = {"training": {**CONFIG["training"], "ema": None, "compile": False}, "model": CONFIG["model"]}
    assert fit_fold(parts, make_settings(epochs=2), folder=tmp_path, config=newer, resume=True).epochs == 2


def test_other_workers_and_threads_are_resumed(parts, tmp_path):
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    changed = {"training": {"epochs": 4, "workers": 2, "threads": 8}, "model": {"name": "tiny"}}
    assert fit_fold(parts, make_settings(epochs=2), folder=tmp_path, config=changed, resume=True).epochs == 2


def test_a_finished_run_that_is_resumed_returns_its_result(parts, tmp_path):
    events = []
    first = fit_fold(parts, make_settings(epochs=2), folder=tmp_path, config=CONFIG)
    again = fit_fold(
        parts, make_settings(epochs=2), folder=tmp_path, config=CONFIG, resume=True, on_event=events.append
    )
    assert again == first
    assert [type(event) for event in events] == [DeviceConfig]


def test_a_best_checkpoint_holds_nothing_but_what_prediction_needs(parts, tmp_path):
    fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    best, last = (load_checkpoint(tmp_path / name) for name in ("best.safetensors", "last.safetensors"))
    assert best.keys() == {"format", "config", "epoch", "score", "history", "model", "sha256"}
    assert last.keys() - best.keys() == {"optimizer", "rng", "scaler", "averages"}
    assert_same(best["model"], last["model"])


def test_the_last_small_batch_is_learnt_from_too(parts, tmp_path):
    sizes = []

    def loss(logits, planes, weights):
        sizes.append(len(logits))
        return parts.loss(logits, planes, weights)

    fit_fold(dataclasses.replace(parts, loss=loss), make_settings(epochs=1), folder=tmp_path, config=CONFIG)
    assert sizes == [2, 2, 1]


def test_whole_images_of_several_sizes_share_a_batch(parts, tmp_path):
    samples = [draw_sample("a", 0), draw_sample("b", 1, shape=(26, 40))]
    whole = TrainingSet(
        samples, **ENCODING, augmentation=AugmentationSettings(preset="light"), pad_spec=PadSpec(8), seed=0
    )
    parts = dataclasses.replace(parts, training_set=whole)
    assert fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG).epochs == 1


def test_tracking_writes_each_epoch_once(parts, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit_fold(parts, make_settings(epochs=2), folder=tmp_path, config=CONFIG, track=True)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [event.step for event in log.Scalars("valid_score")] == [1, 2]


def test_a_validation_without_memory_names_the_remedy(parts, tmp_path):
    def fill(_):
        raise torch.OutOfMemoryError

    with pytest.raises(ResourceError, match=r"epoch 1: the validation does not fit .* lower inference\.batch"):
        fit_fold(dataclasses.replace(parts, validate=fill), make_settings(), folder=tmp_path, config=CONFIG)
