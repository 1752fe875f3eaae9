"""What auxiliary heads are good for, on squares in noise of which half the images have none."""

import pytest
import torch
from torch import nn

from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.heads import EmptyHead, Hypercolumn, SideHeads
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import EmptyHeadSettings, PlainUNetSettings


def draw(seed, n_images=16):
    """Draw a square of 6 × 6 in every second image of 16 × 16, and a dot as bright in each."""
    generator = torch.Generator().manual_seed(seed)
    planes = torch.zeros(n_images, 1, 16, 16)
    inputs = 0.3 * torch.randn(planes.shape, generator=generator)
    for number in range(n_images):
        row, column, dot_row, dot_column = torch.randint(0, 10, (4,), generator=generator).tolist()
        inputs[number, 0, dot_row : dot_row + 2, dot_column : dot_column + 2] = 2
        if number % 2:
            planes[number, 0, row : row + 6, column : column + 6] = 1
    return inputs + 2 * planes, planes


def learn(steps, *, model_options, **terms):
    torch.manual_seed(0)
    model = PlainUNet(1, 1, PlainUNetSettings(filters=4, depth=2, **model_options))
    loss = SegmentationLoss(LossSettings(**terms), ("mask",), "sigmoid")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(steps):
        inputs, planes = draw(step)
        optimizer.zero_grad()
        loss(model(inputs), planes, torch.ones_like(planes[:, 0]))[0].backward()
        optimizer.step()
    return model


def test_an_empty_head_learns_which_images_are_empty_and_its_gate_clears_them():
    model = learn(40, model_options={"empty_head": {"pooling": "max"}}, empty=1.0)
    inputs, _ = draw(1000, n_images=32)
    is_empty = torch.arange(32) % 2 == 0
    model.eval()
    with torch.no_grad():
        says_empty = model.outputs(inputs).empty > 0
        before = model(inputs)
        model.gate_above = 0.5
        after = model(inputs)
    assert (says_empty == is_empty).float().mean() > 0.9
    assert (after[says_empty] <= -10).all()
    assert torch.equal(after[~says_empty], before[~says_empty])


def iou_of_the_lowest_side(model):
    inputs, planes = draw(1000)
    with torch.no_grad():
        side = model.train().outputs(inputs).sides[0]
    found = nn.functional.interpolate(side, (16, 16), mode="bilinear") > 0
    true = planes > 0.5
    return ((found & true).sum() / (found | true).sum()).item()


def test_deep_supervision_makes_a_lower_level_answer_by_itself():
    without, with_it = (
        iou_of_the_lowest_side(learn(40, model_options={"deep_supervision": True}, deep_supervision=weight))
        for weight in (1e-9, 1.0)
    )
    assert with_it > 0.6 > without + 0.2


@pytest.mark.parametrize(("pooling", "wanted"), [("avg", 1.0), ("max", 3.0)])
def test_an_empty_head_pools_the_lowest_map(pooling, wanted):
    head = EmptyHead(1, EmptyHeadSettings(pooling=pooling))
    nn.init.ones_(head.linear.weight)
    assert head(torch.tensor([[[[3.0, 0.0, 0.0]]], [[[3.0, 0.0, 0.0]]]])).tolist() == [wanted, wanted]


def test_a_hypercolumn_has_the_width_and_size_of_the_last_map():
    column = Hypercolumn((8, 4, 2), norm=nn.Identity(), activation=nn.ReLU())
    maps = [torch.randn(1, width, side, side + 1) for width, side in ((8, 2), (4, 4), (2, 8))]
    assert column(maps).shape == (1, 2, 8, 9)
    assert [conv.out_channels for conv in column.narrow] == [2, 2]


def test_sides_are_one_for_each_map_but_the_last():
    sides = SideHeads((8, 4, 2), 3)([torch.zeros(1, width, 2, 2) for width in (8, 4, 2)])
    assert [tuple(side.shape) for side in sides] == [(1, 3, 2, 2)] * 2
