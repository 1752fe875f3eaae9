"""The trainer on a device: as on the CPU in fp32, and what mixed precision adds; on a GPU by `scripts/gpu-check`."""

import warnings
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from kaggle_unet.data.loading import BatchLoader, move_ahead
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.training.failures import TrainingFailure
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import EpochDone, train_epoch
from kaggle_unet.training.settings import EmaSettings, OptimizerSettings, TrainingSettings
from tests.training.test_learner import draw_batch, unet_learner
from tests.training.test_train_epoch import make_batch, make_learner
from tests.training.tiny import DEVICES, distributed_on

pytestmark = pytest.mark.parametrize("device", DEVICES)


def unet(distributed=None, **options):
    """Build a learner with a loss of its own, which moves to the learner's device."""
    return unet_learner(
        SegmentationLoss(LossSettings(), ("mask", "border"), "sigmoid"), distributed=distributed, **options
    )


def take_steps(learner, n=4):
    """Learn from a few batches; a scaler starts low, so that it skips none of them."""
    learner.load_scaler_state({**learner.scaler_state(), "scale": 256.0} if learner.scaler_state() else {})
    learner.begin_epoch(1)
    return [learner.learn(draw_batch(6, seed)) for seed in range(n)]


@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.1}, {"accumulate": 3}, {"ema": EmaSettings(decay=0.5)}], ids=str
)
@pytest.mark.parametrize(("precision", "error"), [("32", 1e-3), ("bf16", 2e-2), ("fp16", 5e-3)])
def test_steps_are_those_of_the_cpu_in_fp32(device, precision, error, options):
    expected, found = unet(**options), unet(distributed_on(device, precision, channels_last=True), **options)
    for one, other in zip(take_steps(expected), take_steps(found), strict=True):
        assert other.can_continue
        assert other.loss == pytest.approx(one.loss, rel=error)
    assert found.skipped_steps == 0
    for one, other in zip(expected.eval_model.parameters(), found.eval_model.parameters(), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=0, atol=error)


def test_steps_that_the_scaler_skips_are_none_for_average_and_schedule(device):
    learner = make_learner(distributed=distributed_on(device, "fp16"), ema=EmaSettings(decay=0.5))
    rates = []

    def rate(step):
        rates.append(step)
        return 0.1

    train_epoch(learner, [make_batch(5)] * 6, rate=rate, epoch=1, on_step=lambda *_: None)
    # the gradient is 5, and a factor of 65536, 32768 or 16384 makes it more than the 65504 that fp16 can hold
    assert (learner.skipped_steps, learner.scaler_state()["scale"]) == (3, 8192)
    assert rates == [1, 1, 1, 1, 2, 3]
    assert learner.averages.state()["ema"]["n_averaged"] == 3
    assert learner.network.weight.item() == pytest.approx(2 - 3 * 0.5)


def test_gradients_that_no_scaler_makes_finite_end_the_training(device):
    def steep(logits, planes, weights):
        return logits.sqrt().mean(), {}  # its gradient at 0 is infinite

    learner = make_learner(distributed=distributed_on(device, "fp16"), loss=steep)
    with pytest.raises(TrainingFailure, match="step 17: the loss was finite, but the gradients were not"):
        train_epoch(learner, [make_batch(0)] * 20, rate=lambda _: 0.1, epoch=1, on_step=lambda *_: None)
    assert learner.network.weight.item() == 2


def fit(parts, folder, device, precision, *, interrupted=False, **changes):
    settings = TrainingSettings(
        epochs=3,
        batch=2,
        threads=1,
        deterministic=True,
        workers=0,
        ema=EmaSettings(decay=0.5),
        optimizer=OptimizerSettings(name="adam", learning_rate=1e-2),
        **changes,
    )
    parts = replace(parts, distributed=distributed_on(device, precision, channels_last=True, deterministic=True))

    def stop(event):
        if interrupted and isinstance(event, EpochDone) and event.row["epoch"] == 2:
            raise KeyboardInterrupt

    def run(resume=False, on_event=stop):
        return fit_fold(parts, settings, folder=folder, config={}, resume=resume, on_event=on_event)

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            run()
    result = run(resume=interrupted, on_event=lambda _: None)
    return result, load_checkpoint(folder / "last.safetensors")


def assert_same_weights(one, other):
    for tree in ("model", "averages"):
        mine, theirs = ((x[tree] if tree == "model" else x[tree]["ema"]) for x in (one, other))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("precision", ["32", "bf16", "fp16"])
def test_a_deterministic_training_is_repeated_and_resumed_to_the_bit(device, precision, parts, tmp_path):
    straight, again, resumed = (
        fit(parts, tmp_path / name, device, precision, interrupted=name == "resumed")
        for name in ("straight", "again", "resumed")
    )
    assert_same_weights(straight[1], again[1])
    assert_same_weights(straight[1], resumed[1])
    assert straight[0].batches == ("device" if device == "cuda" else "workers")
    for row in resumed[0].history:
        assert ("skipped_steps" in row) == (precision == "fp16")


def test_ddp_of_one_process_takes_the_same_steps(device, monkeypatch):
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "0")):
        monkeypatch.setenv(name, value)
    alone, ddp = distributed_on(device), distributed_on(device)
    backend = "nccl" if device == "cuda" else "gloo"
    with warnings.catch_warnings():  # where SLURM is installed
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        strategy = DDPStrategy(process_group_backend=backend, find_unused_parameters=True)
        ddp.fabric = Fabric(accelerator=device, devices=1, strategy=strategy)
    try:
        ddp.fabric.launch()
        learners = [unet(each, accumulate=2) for each in (alone, ddp)]
        losses = [[result.loss for result in take_steps(learner)] for learner in learners]
    finally:
        torch.distributed.destroy_process_group()
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_next_batch_is_on_its_way_before_a_step_begins(device):
    fetched = []

    def make():
        for number in range(4):
            fetched.append(number)
            yield make_batch(number, ids=[f"{number}"])

    for number, batch in enumerate(move_ahead(make(), torch.device(device))):
        assert fetched == list(range(min(number + 2, 4)))
        assert batch.ids == [f"{number}"]
        assert {tensor.device.type for tensor in batch[:3]} == {device}
        assert batch.inputs.eq(number).all()


def test_batches_moved_ahead_are_the_batches(device, training_set):
    place = torch.device(device)
    plain = BatchLoader(training_set, batch=2, device=torch.device("cpu"))
    ahead = BatchLoader(training_set, batch=2, workers=2 * (device == "cuda"), device=place, ahead=place)
    for epoch in (1, 2):
        for one, other in zip(plain.epoch(epoch), ahead.epoch(epoch), strict=True):
            assert one.ids == other.ids
            torch.testing.assert_close(other.planes.cpu(), one.planes, rtol=0, atol=0)
            torch.testing.assert_close(other.weights.cpu(), one.weights, rtol=0, atol=0)
            assert other.inputs.shape == one.inputs.shape
