"""TernausNet: a VGG that was trained on photographs as the encoder, and that paper's own decoder."""

import torch
from torch import Tensor, nn

from kaggle_unet.models.settings import TernausNetSettings

_N_IN = 512  # channels of the lowest map of every VGG


class TernausNet(nn.Module):
    """VGG11 without its classifier, five blocks up, skip connections before each pooling [1]_.

    Parameters
    ----------
    in_channels : int
        Channels of the inputs.
    out_channels : int
        Planes of the codec.
    settings : TernausNetSettings
        Which encoder, and the decoder's width.
    weights : str, optional
        What smp's hub is asked for; None draws random weights.

    Attributes
    ----------
    encoder : Module
        smp's VGG, whose weights have torchvision's names.

    Notes
    -----
    With VGG11, 3 channels in and one plane out there are 22,927,393 parameters, as in the authors' UNet11. With VGG16
    the decoder stays the same; the authors' own UNet16 has another one, which is in no paper.

    References
    ----------
    .. [1] Iglovikov, Shvets: TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image Segmentation, 2018.
       https://arxiv.org/abs/1801.05746, https://github.com/ternaus/TernausNet
    """

    def __init__(
        self, in_channels: int, out_channels: int, settings: TernausNetSettings, *, weights: str | None = None
    ) -> None:
        import segmentation_models_pytorch as smp

        super().__init__()
        self.encoder = smp.encoders.get_encoder(settings.encoder, in_channels=in_channels, depth=5, weights=weights)
        filters = settings.filters
        widths = [8 * filters, 8 * filters, 4 * filters, 2 * filters, filters]
        skips = self.encoder.out_channels[-2::-1]  # from the bottom
        sources = [_N_IN, *(skip + width for skip, width in zip(skips, widths, strict=True))]
        *levels, top = sources
        middles = [16 * filters, 16 * filters, 16 * filters, 8 * filters, 4 * filters]
        self.up = nn.ModuleList(
            _Block(n_in, middle, n_out) for n_in, middle, n_out in zip(levels, middles, widths, strict=True)
        )
        self.merge = nn.Sequential(nn.Conv2d(top, filters, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(filters, out_channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        inputs : float32 tensor, shape (B, in_channels, H, W)
            H and W multiples of 32.

        Returns
        -------
        logits : float32 tensor, shape (B, out_channels, H, W)
            Before the activation.
        """
        *skips, x = self.encoder(inputs)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([up(x), skip], dim=1)
        logits: Tensor = self.head(self.merge(x))
        return logits


class _Block(nn.Sequential):
    """A convolution, and a transposed one that doubles the sides."""

    def __init__(self, n_in: int, n_middle: int, n_out: int) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_middle, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(n_middle, n_out, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
        )
