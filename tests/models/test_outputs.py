import pytest
import torch

from kaggle_unet.models.outputs import Outputs, answer, gate

LOGITS = torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]])
EMPTY = torch.tensor([2.0, -2.0])  # probabilities 0.88 and 0.12
SIDES = (torch.zeros(2, 1, 1, 1),)


@pytest.mark.parametrize("outputs", [Outputs(LOGITS, EMPTY), Outputs(LOGITS, None, SIDES)], ids=["empty", "sides"])
def test_everything_is_given_while_training_and_logits_alone_otherwise(outputs):
    assert answer(outputs, is_training=True, gate_above=0.5) is outputs
    assert answer(outputs, is_training=False, gate_above=None) is outputs.logits


def test_a_network_of_one_head_gives_logits_always():
    assert answer(Outputs(LOGITS), is_training=True, gate_above=None) is LOGITS
    assert answer(Outputs(LOGITS), is_training=False, gate_above=0.5) is LOGITS


@pytest.mark.parametrize(("above", "is_cleared"), [(0.1, [True, True]), (0.5, [True, False]), (0.9, [False, False])])
def test_the_gate_clears_images_that_are_held_to_be_empty_and_no_others(above, is_cleared):
    gated = gate(LOGITS, EMPTY, above=above)
    for image, before, cleared in zip(gated, LOGITS, is_cleared, strict=True):
        assert (image.sigmoid() < 1e-4).all() if cleared else torch.equal(image, before)


def test_cleared_logits_are_never_raised():
    assert gate(LOGITS, EMPTY, above=0.5)[0, 0, 0].tolist() == [-10, -20]


def test_half_precision_keeps_its_type():
    assert gate(LOGITS.bfloat16(), EMPTY.bfloat16(), above=0.5).dtype == torch.bfloat16
