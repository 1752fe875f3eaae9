from typing import get_args

import pytest
import torch
from torch import nn

from kaggle_unet.training.schedules import Muon, create_optimizer
from kaggle_unet.training.settings import OptimizerSettings

NAMES = get_args(OptimizerSettings.model_fields["name"].annotation)


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_takes_its_numbers_and_moves_downhill(name):
    weight = nn.Parameter(torch.tensor([3.0]))
    settings = OptimizerSettings(name=name, learning_rate=0.05, weight_decay=0.01, momentum=0.8)
    optimizer = create_optimizer(settings, [weight])
    group = optimizer.param_groups[0]
    assert type(optimizer).__name__.lower() == name
    assert (group["lr"], group["weight_decay"]) == (0.05, 0.01)
    assert group.get("momentum", 0.8) == 0.8
    assert group.get("nesterov", name == "sgd") == (name == "sgd")
    for _ in range(40):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 3


def test_sgd_without_momentum_is_no_error():
    create_optimizer(OptimizerSettings(name="sgd", momentum=0), [nn.Parameter(torch.zeros(1))])


def _weights(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def _step(optimizer, parameters, seed):
    for parameter, gradient in zip(parameters, _weights(seed, *(weight.shape for weight in parameters)), strict=True):
        # outputs whose gradients differ by a factor of 30, as real ones do
        factor = torch.logspace(0, -1.5, len(gradient)).view(-1, *[1] * (gradient.ndim - 1))
        parameter.grad = gradient.detach() * factor
    optimizer.step()


SHAPES = [(8, 4, 3, 3), (32, 16, 1, 1), (16, 24, 2, 2), (64, 5, 1, 1), (12, 40), (4, 6, 3, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_moves_a_convolution_by_the_nearest_orthogonal_matrix_of_its_momentum(shape):
    (weight,) = _weights(1, shape)
    optimizer = Muon([weight], lr=0.01, weight_decay=0.0, momentum=0.9)
    mean = torch.zeros(shape)
    for seed in range(3):
        start = weight.detach().clone()
        _step(optimizer, [weight], seed)
        mean = 0.9 * mean + 0.1 * weight.grad
        momentum = (0.1 * weight.grad + 0.9 * mean).movedim(1, -1).flatten(1)
        left, _, right = torch.linalg.svd(momentum, full_matrices=False)
        scale = 0.01 * 0.2 * max(momentum.shape) ** 0.5
        moved = (start - weight.detach()).movedim(1, -1).flatten(1) / scale
        sizes = torch.linalg.svdvals(moved)
        assert sizes.min() > 0.6  # the iteration's promise is about 1, not 1
        assert sizes.max() < 1.3
        assert torch.nn.functional.cosine_similarity(moved.flatten(), (left @ right).flatten(), dim=0) > 0.96


def test_muon_is_adamw_for_vectors_and_for_first_and_last_layers():
    shapes = [(7,), (6, 3, 3, 3), (2, 16, 1, 1), (9, 1, 5, 5)]
    ours, theirs = _weights(1, *shapes), _weights(1, *shapes)
    muon = Muon(ours, lr=0.02, weight_decay=0.1)
    adamw = torch.optim.AdamW(theirs, lr=0.02, weight_decay=0.1, betas=(0.9, 0.95))
    for seed in range(5):
        _step(muon, ours, seed)
        _step(adamw, theirs, seed)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_muon_updates_alike_in_either_memory_format_and_after_a_resume():
    shapes = [(16, 8, 3, 3), (16,)]
    whole, parts = _weights(1, *shapes), _weights(1, *shapes)
    parts[0].data = parts[0].data.contiguous(memory_format=torch.channels_last)
    one, other = Muon(whole, lr=0.1, weight_decay=0.5), Muon(parts, lr=0.1, weight_decay=0.5)
    for seed in range(4):
        if seed == 2:
            state = other.state_dict()
            other = Muon(parts, lr=0.3)
            other.load_state_dict(state)
        _step(one, whole, seed)
        _step(other, parts, seed)
    for first, second in zip(whole, parts, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-3)  # bfloat16, summed in another order


def test_muon_leaves_weights_without_gradients_alone_and_takes_a_gradient_of_zero():
    frozen, still = _weights(1, (8, 8), (8, 8))
    before = frozen.detach().clone(), still.detach().clone()
    optimizer = Muon([frozen, still], lr=0.1)
    still.grad = torch.zeros(8, 8)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert torch.equal(frozen, before[0])
    assert torch.equal(still, before[1])
