import pytest
import torch
from segmentation_models_pytorch.base.modules import SCSEModule

from kaggle_unet.models.heads import ScSE


def test_it_is_smp_s_where_there_are_channels_enough():
    torch.manual_seed(0)
    ours, theirs = ScSE(64), SCSEModule(64)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 64, 5, 4)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("channels", "squeezed"), [(1, 1), (3, 3), (16, 4), (64, 4), (128, 8)])
def test_thin_maps_keep_four_channels_in_the_squeeze_or_all_they_have(channels, squeezed):
    assert ScSE(channels).channel[1].out_channels == squeezed


def test_smp_s_own_leaves_no_channel_of_thin_maps():
    """The trap: 8 channels over 16 are 0 channels, and the gate is the same for every image."""
    with pytest.warns(UserWarning, match="zero-element"):
        assert SCSEModule(8).cSE[1].out_channels == 0


def test_gates_choose_channels_and_pixels():
    attention = ScSE(4)
    for parameter in attention.parameters():
        torch.nn.init.zeros_(parameter)
    attention.channel[3].bias.data = torch.tensor([9.0, -9.0, -9.0, -9.0])  # the first channel alone
    attention.pixel[0].weight.data[0, 1] = 9.0  # pixels where the second is positive
    attention.pixel[0].bias.data[:] = -4.5
    x = torch.zeros(1, 4, 1, 2)
    x[0, :, 0, 1] = 1
    torch.testing.assert_close(attention(x)[0, :, 0, 0], torch.zeros(4))
    torch.testing.assert_close(attention(x)[0, :, 0, 1], torch.tensor([2.0, 1.0, 1.0, 1.0]), atol=0.02, rtol=0)
