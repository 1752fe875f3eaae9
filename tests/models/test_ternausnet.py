import pytest
import torch
import torchvision

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.create import create_model
from kaggle_unet.models.encoder_networks import TernausNet
from kaggle_unet.models.settings import TernausNetSettings


def conv(n_in, n_out, side=3):
    return side**2 * n_in * n_out + n_out


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_with_vgg11_it_has_the_paper_s_22927393_parameters():
    # blocks of the paper: (in, middle, out), each a convolution and a transposed one of 3 × 3
    blocks = [(512, 512, 256), (768, 512, 256), (768, 512, 128), (384, 256, 64), (192, 128, 32)]
    decoder = sum(conv(a, b) + conv(b, c) for a, b, c in blocks) + conv(96, 32) + conv(32, 1, side=1)
    with torch.device("meta"):
        vgg = n_parameters(torchvision.models.vgg11().features)
        model = TernausNet(3, 1, TernausNetSettings())
        assert model(torch.empty(1, 3, 64, 96)).shape == (1, 1, 64, 96)
    assert n_parameters(model) == vgg + decoder == 22_927_393


def test_with_vgg16_the_decoder_is_the_same():
    with torch.device("meta"):
        vgg11, vgg16 = (TernausNet(3, 1, TernausNetSettings(encoder=name)) for name in ("vgg11", "vgg16"))
    assert {key: value.shape for key, value in vgg11.up.state_dict().items()} == {
        key: value.shape for key, value in vgg16.up.state_dict().items()
    }
    assert n_parameters(vgg16) - n_parameters(vgg11) == n_parameters(vgg16.encoder) - n_parameters(vgg11.encoder)


def test_skips_are_taken_before_each_pooling():
    """What is done to the full-sized maps reaches the logits even where everything below is blank."""
    torch.manual_seed(0)
    model = TernausNet(1, 1, TernausNetSettings(filters=2)).eval()
    for up in model.up:
        torch.nn.init.zeros_(up[2].weight)
    inputs = torch.zeros(1, 1, 32, 32)
    inputs[..., 16, 16] = 5
    with torch.no_grad():
        change = (model(inputs) - model(torch.zeros_like(inputs))).abs()[0, 0]
    assert change[15:18, 15:18].max() > 0
    assert change[:12].max() == 0, "no further than three convolutions reach"


def test_the_encoder_is_filled_from_torchvision_s_file(tmp_path):
    torch.manual_seed(0)
    source = torchvision.models.vgg11(weights=None)
    tensors = {name: value for name, value in source.state_dict().items() if "classifier.0" not in name}
    path = tmp_path / "vgg11-8a719046.pth"
    torch.save(tensors, path)
    model = create_model(TernausNetSettings(filters=1, encoder_weights=str(path)), in_channels=1, out_channels=1)
    assert torch.equal(model.encoder.features[3].weight, source.features[3].weight)
    assert torch.equal(model.encoder.features[0].weight, source.features[0].weight.sum(dim=1, keepdim=True))
    other = TernausNetSettings(encoder="vgg16", filters=1, encoder_weights=str(path))
    with pytest.raises(ConfigError, match=r"do not fit model\.encoder"):
        create_model(other, in_channels=1, out_channels=1)
