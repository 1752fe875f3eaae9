import pytest
import torch
from torch import nn

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import ConfigError, KitError, ResourceError
from kaggle_unet.training.device import DeviceConfig
from kaggle_unet.training.distributed import Distributed
from kaggle_unet.training.fold import train_epoch
from kaggle_unet.training.settings import OptimizerSettings, TrainingSettings
from kaggle_unet.training.step import Learner

DESCENT = OptimizerSettings(name="sgd", learning_rate=1.0, momentum=0)


def make_distributed(precision="32", channels_last=False, compiled=False):
    return Distributed(DeviceConfig("cpu", precision, channels_last, compiled, False, 1, "test"))


def mean_logit(logits, planes, weights):
    assert logits.dtype == torch.float32
    return logits.mean(), {"half": logits.detach().mean() / 2}


def make_learner(weight=2.0, distributed=None, loss=mean_logit, **options):
    """A network that multiplies by one number, moved by plain gradient descent."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    return Learner(network, loss, TrainingSettings(optimizer=DESCENT, **options), distributed or make_distributed())


def make_batch(value, n=1, ids=None):
    return Batch(torch.full((n, 1, 2, 2), float(value)), torch.zeros(n, 1, 2, 2), torch.ones(n, 2, 2), ids or ["a"] * n)


def run(learner, batches, rate=lambda step: 0.0, on_step=lambda *_: None, **options):
    return train_epoch(learner, batches, rate=rate, epoch=3, on_step=on_step, **options)


def test_a_step_moves_the_weights_against_the_gradient():
    learner = make_learner()
    learner.set_rate(0.1)
    # the loss is 5·weight, its gradient 5
    assert learner.learn(make_batch(5)) == (10.0, {"half": 5.0}, 1, True)
    assert learner.network.weight.item() == pytest.approx(2 - 0.5)


def test_gradients_do_not_add_up_over_steps():
    learner = make_learner()
    learner.set_rate(0.1)
    learner.learn(make_batch(5))
    learner.learn(make_batch(5))
    assert learner.network.weight.item() == pytest.approx(2 - 1.0)


def test_gradients_are_clipped_to_the_norm():
    learner = make_learner(clip_norm=1.0)
    learner.set_rate(0.1)
    learner.learn(make_batch(5))
    assert learner.network.weight.item() == pytest.approx(2 - 0.1)


def test_each_step_has_its_own_rate():
    learner = make_learner()
    seen = []
    run(
        learner,
        [make_batch(1)] * 3,
        rate=lambda step: step / 10,
        on_step=lambda *_: seen.append(learner.network.weight.item()),
    )
    assert seen == pytest.approx([1.9, 1.7, 1.4])


def test_means_are_over_samples_not_over_steps():
    steps = []
    means = run(make_learner(), [make_batch(1, n=3), make_batch(5, n=1)], on_step=lambda *step: steps.append(step))
    # logits are 2 three times and 10 once
    assert means == ({"loss": 4.0, "half": 2.0}, 4)
    assert steps == [(1, 2.0, 3), (2, 10.0, 1)]


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_layout_reaches_network_and_inputs(channels_last):
    layouts = []
    network = nn.Conv2d(3, 4, 3)
    network.register_forward_pre_hook(
        lambda _, given: layouts.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    learner = Learner(network, mean_logit, TrainingSettings(), make_distributed(channels_last=channels_last))
    learner.predict(torch.rand(2, 3, 8, 8))
    assert layouts == [channels_last]
    assert network.weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_bf16_computes_in_bf16_but_keeps_weights_and_losses_in_32():
    kinds = []
    learner = make_learner(1.0, make_distributed("bf16"))
    learner.network.register_forward_hook(lambda _, given, logits: kinds.append(logits.dtype))
    assert learner.learn(make_batch(1 + 2**-10)).loss == 1.0
    assert learner.predict(make_batch(1).inputs).dtype == torch.float32
    assert kinds == [torch.bfloat16] * 2
    assert learner.network.weight.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_epoch_step_and_samples(value):
    batches = [make_batch(1), make_batch(value, n=2, ids=["cell 7", "cell 9"])]
    with pytest.raises(KitError, match=r"epoch 3, step 2: the loss is \w+ \(half \w+\) on the samples cell 7, cell 9"):
        run(make_learner(), batches)


def test_running_out_of_memory_names_the_setting_to_lower(monkeypatch):
    def overflow(*_):
        raise torch.OutOfMemoryError

    learner = make_learner(loss=overflow)
    with pytest.raises(ResourceError, match=r"inputs of 1 × 1 × 2 × 2 do not fit .* lower training\.batch"):
        learner.learn(make_batch(1))
    monkeypatch.setattr(learner.network, "forward", overflow)
    with pytest.raises(ResourceError, match=r"lower inference\.batch"):
        learner.predict(make_batch(1).inputs)


def test_predictions_leave_no_gradients():
    learner = make_learner()
    assert not learner.predict(make_batch(1).inputs).requires_grad
    assert learner.network.weight.grad is None


def test_a_batch_of_one_crop_that_cannot_be_normalised_says_what_to_change(monkeypatch):
    learner, norm = make_learner(), torch.nn.BatchNorm2d(1)
    monkeypatch.setattr(learner.network, "forward", lambda inputs: norm(inputs[:1, :, :1, :1]))
    with pytest.raises(ConfigError, match=r"a batch of one crop .* training\.batch .* model\.norm group"):
        learner.learn(make_batch(1))
