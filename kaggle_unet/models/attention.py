"""Attention for a block's output: what counts, and where."""

from torch import Tensor, nn


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation: x · channel gate + x · pixel gate.

    Parameters
    ----------
    channels : int
        Of the maps.

    Notes
    -----
    The channel gate squeezes to a sixteenth of the channels, as smp's and the TGS kits' do, but to 4 at least (or all
    that there are), as a thin U-Net would be left with one. Added, not maximised [1]_.

    References
    ----------
    .. [1] Roy, Navab, Wachinger: Concurrent Spatial and Channel 'Squeeze & Excitation' in Fully Convolutional
       Networks, 2018. https://arxiv.org/abs/1803.02579
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = min(channels, max(4, channels // 16))
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )
        self.pixel = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Weigh channels and pixels.

        Parameters
        ----------
        x : tensor, shape (B, channels, H, W)
            A block's output.

        Returns
        -------
        x : tensor, shape (B, channels, H, W)
            Of twice the size at most.
        """
        weighed: Tensor = x * (self.channel(x) + self.pixel(x))
        return weighed
