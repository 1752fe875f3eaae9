import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from kaggle_unet.errors import KitError
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.training.failures import TrainingFailure
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import EpochDone
from kaggle_unet.training.settings import OptimizerSettings
from kaggle_unet.training.validate import ValidationResult
from tests.training.test_fit import CONFIG, make_settings
from tests.training.test_train_epoch import make_batch, make_learner, run


class _Bad(nn.Module):
    """A loss that goes wrong in some step, from 1, in the way of `spoil`."""

    def __init__(self, loss, step, spoil):
        super().__init__()
        self.loss, self.step, self.spoil, self.done, self.seen = loss, step, spoil, 0, []

    def forward(self, logits, planes, weights):
        value, parts = self.loss(logits, planes, weights)
        if logits.requires_grad:
            self.done += 1
            self.seen.append((planes, weights))
        return (self.spoil(value), parts) if self.done == self.step and logits.requires_grad else (value, parts)


def kept(folder):
    with np.load(folder / "failed_batch.npz", allow_pickle=False) as file:
        return dict(file)


def test_a_bad_batch_is_kept_and_so_is_the_last_good_checkpoint(parts, tmp_path):
    loss = _Bad(parts.loss, 5, lambda value: value * float("nan"))
    with pytest.raises(KitError, match=r"epoch 2, step 2: the loss is nan .* kept in .*failed_batch\.npz$") as caught:
        fit_fold(dataclasses.replace(parts, loss=loss), make_settings(), folder=tmp_path, config=CONFIG)
    assert caught.value.exit_code == 1
    batch = kept(tmp_path)
    assert batch.keys() >= {"inputs", "planes", "weights", "ids"}
    np.testing.assert_array_equal(batch["planes"], loss.seen[-1][0])
    assert all(id_ in str(caught.value) for id_ in batch["ids"])
    assert load_checkpoint(tmp_path / "last.safetensors")["epoch"] == 1


def test_a_training_that_diverges_at_once_is_stopped(parts, tmp_path):
    settings = make_settings(optimizer=OptimizerSettings(name="sgd", learning_rate=1e4))
    says = r"epoch 1, step 2: the training diverges: the loss is [\d.e+]+ \(.* above [\d.]+, training\.diverged_above"
    with pytest.raises(TrainingFailure, match=says):
        fit_fold(parts, settings, folder=tmp_path, config=CONFIG)
    assert len(kept(tmp_path)["ids"]) == 2


def test_the_scale_of_the_loss_is_the_first_epochs(parts, tmp_path):
    loss = _Bad(parts.loss, 4, lambda value: value * 50)
    parts = dataclasses.replace(parts, loss=loss)
    fit_fold(parts, make_settings(epochs=2), folder=tmp_path / "default", config=CONFIG)
    loss.done = 0
    with pytest.raises(TrainingFailure, match="epoch 2, step 1: the training diverges"):
        fit_fold(parts, make_settings(epochs=2, diverged_above=10), folder=tmp_path / "strict", config=CONFIG)
    assert len(kept(tmp_path / "strict")["ids"]) == 2
    for name in ("best.safetensors", "last.safetensors"):
        assert load_checkpoint(tmp_path / "strict" / name)["epoch"] == 1


def test_an_easy_first_image_is_no_scale(parts, tmp_path):
    loss = _Bad(parts.loss, 1, lambda value: value * 1e-4)  # as with weights that were learnt before
    fit_fold(dataclasses.replace(parts, loss=loss), make_settings(epochs=1), folder=tmp_path, config=CONFIG)


def test_broken_gradients_are_blamed_on_their_own_batch():
    def steep(logits, planes, weights):
        return logits.sqrt().mean(), {}  # its gradient at 0 is infinite

    batches = [make_batch(1, ids=["good"]), make_batch(0, ids=["bad"]), make_batch(1, ids=["innocent"])]
    with pytest.raises(TrainingFailure, match=r"step 3, of the step before: .* gradients were not, .* bad") as caught:
        run(make_learner(loss=steep), batches)
    assert caught.value.batch.ids == ["bad"]
    with pytest.raises(TrainingFailure, match=r"step 2: .* gradients were not, .* bad;") as caught:
        run(make_learner(loss=steep, clip_norm=1.0), batches)
    assert caught.value.batch.ids == ["bad"]


def test_a_validation_that_is_not_finite_names_its_samples(parts, tmp_path):
    def spoil(logits, planes, weights):
        value, terms = parts.loss(logits, planes, weights)
        return (value if logits.requires_grad else value * float("inf")), terms

    validate_model = parts.validate
    parts = dataclasses.replace(parts, validate=lambda predict: validate_model(predict, loss=spoil))
    with pytest.raises(TrainingFailure, match=r"epoch 1: the validation loss is inf on the samples v0, v1 although"):
        fit_fold(parts, make_settings(), folder=tmp_path, config=CONFIG)
    assert kept(tmp_path)["ids"].tolist() == ["v0", "v1"]


def blank_judge(n_true, n_predicted):
    counts = iter(n_predicted)
    batch = make_batch(1, ids=["v0"])
    return lambda predict: ValidationResult(1.0, 0.0, {"v0": 0.0}, n_true, next(counts), batch)


def test_a_network_that_finds_nothing_is_named_and_in_the_end_stopped(parts, tmp_path):
    events = []
    parts = dataclasses.replace(parts, validate=blank_judge(7, [3, 0, 0, 0]))
    says = r"epoch 4: the network finds no object in any of 1 validation samples, which hold 7; .* in 3 validations"
    with pytest.raises(TrainingFailure, match=says):
        fit_fold(
            parts, make_settings(epochs=9, blank_validations=3), folder=tmp_path, config=CONFIG, on_event=events.append
        )
    warnings = [event.warning for event in events if isinstance(event, EpochDone)]
    assert [bool(warning) for warning in warnings] == [False, True, True]
    assert load_checkpoint(tmp_path / "best.safetensors")["epoch"] == 1
    assert load_checkpoint(tmp_path / "last.safetensors")["epoch"] == 3
    assert kept(tmp_path)["ids"].tolist() == ["v0"]


def test_nothing_is_missed_where_there_is_nothing(parts, tmp_path):
    events = []
    parts = dataclasses.replace(parts, validate=blank_judge(0, [0, 0, 0, 0]))
    fit_fold(parts, make_settings(blank_validations=1), folder=tmp_path, config=CONFIG, on_event=events.append)
    assert not any(event.warning for event in events if isinstance(event, EpochDone))


def test_a_real_validation_knows_when_nothing_was_found(parts):
    blank = torch.tensor([-9.0, -9.0, 9.0])[None, :, None, None]
    result = parts.validate(lambda inputs: blank.expand(len(inputs), 3, *inputs.shape[-2:]))
    assert result.is_blank
    assert (result.true_objects, result.predicted_objects) == (6, 0)
    assert result.batch.ids == ["v0", "v1"]


def test_a_fault_passes_between_processes():
    fault = pickle.loads(pickle.dumps(TrainingFailure("why", make_batch(3, ids=["a"]))))
    assert (str(fault), fault.batch.ids) == ("why", ["a"])
