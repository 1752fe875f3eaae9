import pytest
import torch
from torch import nn

from kaggle_unet.models.heads import Outputs, forward_all, select_outputs

LOGITS = torch.tensor([[[[3.0, -20.0]]], [[[3.0, 1.0]]]])
EMPTY = torch.tensor([2.0, -2.0])  # probabilities 0.88 and 0.12
SIDES = (torch.zeros(2, 1, 1, 1),)


@pytest.mark.parametrize("outputs", [Outputs(LOGITS, EMPTY), Outputs(LOGITS, None, SIDES)], ids=["empty", "sides"])
def test_all_outputs_are_returned_in_training_and_logits_alone_otherwise(outputs):
    assert select_outputs(outputs, is_training=True) is outputs
    assert select_outputs(outputs, is_training=False) is outputs.logits
    gated = outputs._replace(gate_above=0.5)
    assert select_outputs(gated, is_training=True) is gated


def test_a_network_of_one_head_returns_logits_always():
    assert select_outputs(Outputs(LOGITS), is_training=True) is LOGITS
    assert select_outputs(Outputs(LOGITS, gate_above=0.5), is_training=False) is LOGITS


def test_predictions_are_suppressed_and_logits_are_not():
    outputs = Outputs(LOGITS, EMPTY, gate_above=0.5)
    assert select_outputs(outputs, is_training=False)[0, 0, 0].tolist() == [-10, -20]
    assert outputs.logits is LOGITS


class _TwoHeads(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.given = given

    def forward(self, inputs):
        return select_outputs(self.outputs(inputs), is_training=False)

    def outputs(self, inputs):
        return self.given


def test_forward_all_returns_the_outputs_before_suppression():
    inputs = torch.zeros(2, 1, 1, 2)
    given = Outputs(LOGITS, EMPTY, gate_above=0.5)
    assert forward_all(_TwoHeads(given), inputs) is given
    assert forward_all(_TwoHeads(Outputs(LOGITS)), inputs) is LOGITS
    assert forward_all(nn.Identity(), inputs) is inputs


@pytest.mark.parametrize(("above", "is_cleared"), [(0.1, [True, True]), (0.5, [True, False]), (0.9, [False, False])])
def test_the_gate_clears_images_that_are_held_to_be_empty_and_no_others(above, is_cleared):
    gated = select_outputs(Outputs(LOGITS, EMPTY, gate_above=above), is_training=False)
    for image, before, cleared in zip(gated, LOGITS, is_cleared, strict=True):
        assert (image.sigmoid() < 1e-4).all() if cleared else torch.equal(image, before)


def test_cleared_logits_are_never_raised():
    assert select_outputs(Outputs(LOGITS, EMPTY, gate_above=0.5), is_training=False)[0, 0, 0].tolist() == [-10, -20]


def test_half_precision_keeps_its_type():
    outputs = Outputs(LOGITS.bfloat16(), EMPTY.bfloat16(), gate_above=0.5)
    assert select_outputs(outputs, is_training=False).dtype == torch.bfloat16
