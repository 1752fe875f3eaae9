from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import PlainUNetSettings
from kaggle_unet.training.settings import OptimizerSettings, TrainingSettings
from kaggle_unet.training.step import Learner
from tests.training.test_train_epoch import DESCENT, make_batch, make_distributed, make_learner


def draw_batch(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(n, 1, 16, 24, generator=generator)
    planes = (torch.rand(n, 2, 16, 24, generator=generator) > 0.7).float()
    return Batch(inputs, planes, torch.rand(n, 16, 24, generator=generator) + 0.1, [f"s{k}" for k in range(n)])


def unet_learner(loss, norm="group", distributed=None, **options):
    torch.manual_seed(0)
    network = PlainUNet(1, 2, PlainUNetSettings(filters=4, depth=2, norm=norm))
    settings = TrainingSettings(batch=16, optimizer=OptimizerSettings(name="sgd", learning_rate=0.1), **options)
    return Learner(network, loss, settings, distributed or make_distributed())


@pytest.fixture(scope="module")
def loss():
    return SegmentationLoss(LossSettings(dice_over="image"), ("mask", "border"), "sigmoid")


@pytest.mark.parametrize(("n", "parts"), [(6, 2), (6, 3), (7, 3), (5, 5), (2, 4)])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(loss, n, parts):
    whole, pieces = unet_learner(loss), unet_learner(loss, accumulate=parts)
    results = [learner.learn(draw_batch(n)) for learner in (whole, pieces)]
    assert results[0].loss == pytest.approx(results[1].loss, abs=1e-6)
    assert results[0].parts == pytest.approx(results[1].parts, abs=1e-6)
    assert results[0].images == results[1].images == n
    for one, other in zip(whole.network.parameters(), pieces.network.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_batch_norm_sees_the_parts(loss):
    learners = unet_learner(loss, "batch"), unet_learner(loss, "batch", accumulate=3)
    for learner in learners:
        learner.learn(draw_batch(6))
    counts = [learner.network.down[0].norm1.num_batches_tracked.item() for learner in learners]
    assert counts == [1, 3]


def test_parts_differ_in_size_by_one_at_most():
    sizes = []
    learner = make_learner(accumulate=3)
    learner.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    learner.learn(make_batch(1, n=8))
    assert sizes == [2, 3, 3]


class _Outputs(NamedTuple):
    logits: Tensor
    deep: list[Tensor]


class _Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)

    def forward(self, inputs):
        logits = self.conv(inputs)
        return _Outputs(logits, [logits * 2]) if self.training else logits


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_loss_is_given_whatever_the_network_gives(precision):
    seen = []

    def loss(given, planes, weights):
        seen.append(type(given))
        return given.logits.float().mean() + given.deep[0].float().mean(), {}

    learner = Learner(_Deep(), loss, TrainingSettings(optimizer=DESCENT), make_distributed(precision))
    weight = learner.network.conv.weight.item()
    assert learner.learn(make_batch(1)).loss == pytest.approx(3 * weight, rel=0.02)
    assert seen == [_Outputs]
    learner.network.eval()
    assert learner.predict(make_batch(1).inputs).shape == (1, 1, 2, 2)


@pytest.mark.parametrize(("value", "max_loss"), [(float("nan"), 9.0), (-float("inf"), 9.0), (5.0, 9.9)])
def test_weights_stay_where_a_loss_is_not_to_be_trusted(value, max_loss):
    learner = make_learner()
    assert not learner.learn(make_batch(value), max_loss=max_loss).can_continue
    assert learner.network.weight.item() == 2
    assert learner.learn(make_batch(value / value * 4.9 if value == 5 else 1), max_loss=max_loss).can_continue


def test_gradients_that_are_not_finite_are_noticed_where_they_are_clipped():
    def steep(logits, planes, weights):
        return logits.sqrt().mean(), {}  # its gradient at 0 is infinite

    learner = make_learner(loss=steep, clip_norm=1.0)
    result = learner.learn(make_batch(0))
    assert (result.loss, result.can_continue) == (0.0, False)
    assert learner.is_finite()


def test_deterministic_work_that_cannot_be_done_names_the_setting(monkeypatch):
    def refuse(*_):
        raise RuntimeError(
            "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set x. You can"
        )

    with pytest.raises(ConfigError, match=r"training\.deterministic: upsample_bilinear2d\w+ does not have .* false"):
        make_learner(loss=refuse).learn(make_batch(1))


def test_other_faults_of_the_loss_pass_through():
    def fail(*_):
        raise RuntimeError("mat1 and mat2")

    with pytest.raises(RuntimeError, match="mat1"):
        make_learner(loss=fail).learn(make_batch(1))


class _NoCompilerError(RuntimeError):
    __module__ = "torch._inductor.exc"


def test_a_compiler_that_is_missing_is_explained():
    def fail(*_):
        raise _NoCompilerError("InvalidCxxCompiler: No working C++ compiler found\nand so on")

    with pytest.raises(ConfigError, match=r"training\.compile: InvalidCxxCompiler: No .* found; .* set it to false"):
        make_learner(loss=fail).learn(make_batch(1))


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(loss):
    distributed = make_distributed(compiled=True)
    assert distributed.device_config.record["compiled"]
    plain, compiled = unet_learner(loss), unet_learner(loss, distributed=distributed)
    for seed in range(2):
        results = [learner.learn(draw_batch(4, seed)) for learner in (plain, compiled)]
        assert results[0].loss == pytest.approx(results[1].loss, abs=1e-5)
    assert plain.network.state_dict().keys() == compiled.network.state_dict().keys()
    for one, other in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    # validation sees images of other sizes, which must not be compiled one by one
    compiled.network.eval()
    assert compiled.predict(torch.rand(1, 1, 32, 20)).shape == (1, 2, 32, 20)
