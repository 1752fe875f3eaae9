import torch

from kaggle_unet.steps.bench_train import count_step, measure_roofline
from tests.training.test_train_epoch import make_batch, make_learner


def test_a_step_is_counted_by_hand():
    learner = make_learner()
    n_flops, n_bytes = count_step(learner, make_batch(3))
    # one multiplication and addition a pixel forward, and one backward for the weight: inputs need no gradient
    assert n_flops == 4 * 2 * 2
    # the convolution alone reads four pixels and a weight, writes four pixels; backward does it again
    assert n_bytes >= 2 * 4 * (4 + 1 + 4)
    assert learner.network.weight.item() == 2
    assert learner.network.weight.grad is None


def test_what_a_view_shows_is_not_moved():
    bare = count_step(make_learner(loss=lambda logits, *_: (logits.mean(), {})), make_batch(3))[1]
    viewed = count_step(make_learner(loss=lambda logits, *_: (logits.flatten().mean(), {})), make_batch(3))[1]
    assert viewed == bare
    copied = count_step(make_learner(loss=lambda logits, *_: (logits.clone().mean(), {})), make_batch(3))[1]
    assert copied > bare


def test_the_rooflines_are_far_above_nothing():
    flops_per_s, bytes_per_s = measure_roofline(torch.device("cpu"), None)
    assert flops_per_s > 1e8
    assert bytes_per_s > 1e7
