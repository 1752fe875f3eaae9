"""The U-Net of the articles: two convolutions per level, pooling on the way down, skip connections on the way up.

Every convolution has a bias, even where a norm follows: with 16 filters, batch norm and 3 × 3 transposed convolutions
that is the Keras network of "Understanding Semantic Segmentation with UNET", 2,161,361 trainable parameters, once its
blocks really have two convolutions. The names of a block's parameters do not depend on the dropout.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.heads import EmptyHead, Hypercolumn, Outputs, ScSE, SideHeads, initialise, select_outputs
from kaggle_unet.models.settings import PlainUNetSettings

Rates = dict[str, float]  # dropout rates before, between and after the convolutions of a block; 0 where not named


def _dropout_rates(settings: PlainUNetSettings) -> tuple[list[Rates], list[Rates]]:
    """Return the dropout rates of the encoder's and the decoder's blocks."""
    levels = settings.dropout if isinstance(settings.dropout, tuple) else (settings.dropout,) * (settings.depth + 1)
    if settings.dropout_place == "bottleneck":
        return [*[Rates()] * settings.depth, {"after": levels[-1]}], [Rates()] * settings.depth
    rates: list[Rates] = [{settings.dropout_place: rate} for rate in levels]
    first = Rates() if settings.dropout_place == "before" else rates[0]  # the inputs keep all their values
    return [first, *rates[1:]], rates[-2::-1]


# Pixels of each side that after upsampling depend on pixels beyond the edges; without padding they are cut off.
_HALF_SEEN_PX = {"transposed2": 0, "transposed3": 2, "nearest": 0, "bilinear": 2}


class PlainUNet(nn.Module):
    """The U-Net of Ronneberger, Fischer and Brox [1]_.

    Weights are drawn from normal distributions of variance g / N, N being the number of values each output sums (the
    paper's "incoming nodes", fan-in), with g = 2 before a ReLU (He; also before an ELU) and g = 1 for upsampling and
    head, which have none. Dropout is per value, not per feature map, as in the articles. Group norm has up to 8 groups,
    of at least two channels each. Interpolation follows its 1 × 1 convolution, as the two commute.

    Without padding, inputs whose sides halve evenly down to the lowest level are taken whole (572 → 388 at depth 4);
    other even sides lose the surplus at their edges first (576 → 572 → 388). Every output then depends on real pixels
    only: a tile's planes are those of the whole image there.

    With `settings.unshuffle` of k, k × k neighbouring pixels become channels of one pixel before the first block, and
    the head gives k × k logits for each plane, which become pixels again (pixel shuffle [2]_).

    With `settings.residual` each block adds a 1 × 1 convolution of its input before its last activation (ResUNet [3]_).
    The second convolution then starts with g = 1, as the shortcut does, so that the sum varies as much as a plain
    block's output.

    References
    ----------
    .. [1] U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015. https://arxiv.org/abs/1505.04597
    .. [2] Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
       Neural Network, 2016. https://arxiv.org/abs/1609.05158
    .. [3] Zhang, Liu, Wang: Road Extraction by Deep Residual U-Net, 2018. https://arxiv.org/abs/1711.10684
    """

    def __init__(self, in_channels: int, out_channels: int, settings: PlainUNetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.filters * 2**level for level in range(settings.depth + 1)]
        rates_down, rates_up = _dropout_rates(settings)
        n_folded = settings.unshuffle**2
        sources = [in_channels * n_folded, *widths[:-1]]
        self.down = nn.ModuleList(
            _Block(n_in, n_out, settings, rate) for n_in, n_out, rate in zip(sources, widths, rates_down, strict=True)
        )
        # the lowest level first, the order of the forward pass
        self.up = nn.ModuleList(_upsampling(2 * width, width, settings) for width in widths[-2::-1])
        self.merge = nn.ModuleList(
            _Block(2 * width, width, settings, rate) for width, rate in zip(widths[-2::-1], rates_up, strict=True)
        )
        self.head = initialise(nn.Conv2d(widths[0], out_channels * n_folded, 1), gain=1)
        self.fold = nn.PixelUnshuffle(settings.unshuffle) if n_folded > 1 else nn.Identity()
        self.unfold = nn.PixelShuffle(settings.unshuffle) if n_folded > 1 else nn.Identity()
        maps = widths[-2::-1]
        self.hypercolumn: Hypercolumn | None = None
        if settings.hypercolumn:
            self.hypercolumn = Hypercolumn(maps, norm=_norm(maps[-1], settings), activation=_activation(settings))
        self.sides = SideHeads(maps, out_channels) if settings.deep_supervision else None
        self.empty = EmptyHead(widths[-1], settings.empty_head) if settings.empty_head else None
        self.gate_above = settings.empty_head.gate_above if settings.empty_head else None
        self.multiple = settings.unshuffle << settings.depth
        self._lost = _lost_px(settings)
        self.margin = (self._lost + 4 % self.multiple) // 2 if settings.padding == "valid" else 0

    def output_size(self, side: int) -> int:
        """Return the height or width of the logits for that of the inputs.

        >>> PlainUNet(1, 2, PlainUNetSettings(filters=1, depth=4, padding="valid")).output_size(572)
        388
        """
        multiple, depth = self.multiple, self.settings.depth
        if self.settings.padding == "same":
            if side % multiple:
                msg = f"inputs of {side} pixels a side; this U-Net of depth {depth} takes multiples of {multiple}: pad "
                raise ConfigError(msg + f"to {-(-side // multiple) * multiple}")
            return side
        # Every pooling halves a side of multiple · k + 4 · (multiple − 1) evenly; the lowest level then has k pixels.
        surplus = (side + 4) % multiple
        if surplus % 2:
            msg = f"inputs of {side} pixels a side; a U-Net without padding takes even sizes: pad to {side + 1}"
            raise ConfigError(msg)
        size = side - surplus - self._lost
        if size < 1:
            msg = f"inputs of {side} pixels a side leave no output of a U-Net of depth {depth} without padding; "
            raise ConfigError(msg + f"make them larger than {2 * self.margin}, or set model.padding to same")
        return size

    def forward(self, inputs: Tensor) -> Tensor | Outputs:
        """Compute logits from inputs whose sides are multiples of `multiple`; `margin` pixels are lost at each edge.

        In training, return all outputs if there are auxiliary heads; in evaluation, only the logits, suppressed in
        images that the empty head takes to be empty. Other sizes raise `ConfigError`.
        """
        return select_outputs(self.outputs(inputs), is_training=self.training)

    def outputs(self, inputs: Tensor) -> Outputs:
        """Compute the outputs of all heads, `sides` in training mode only, before images are suppressed."""
        height, width = (self.output_size(side) + self._lost for side in inputs.shape[-2:])
        x = self.fold(_middle(inputs, height, width))
        skips: list[Tensor] = []
        for block in self.down[:-1]:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        lowest: Tensor = self.down[-1](x)
        maps = [lowest]
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(maps[-1])
            maps.append(merge(torch.cat([_middle(skips.pop(), x.shape[-2], x.shape[-1]), x], dim=1)))
        maps = maps[1:]  # the decoder's
        top = maps[-1] if self.hypercolumn is None else self.hypercolumn(maps)
        return Outputs(
            self.unfold(self.head(top)),
            None if self.empty is None else self.empty(lowest),
            self.sides(maps) if self.sides is not None and self.training else (),
            self.gate_above,
        )


class _Block(nn.Module):
    """Convolution, norm and activation twice, with dropout; optionally a shortcut, and attention at the end."""

    def __init__(self, n_in: int, n_out: int, settings: PlainUNetSettings, rates: Rates) -> None:
        super().__init__()
        padding = 1 if settings.padding == "same" else 0
        self.conv1 = initialise(nn.Conv2d(n_in, n_out, 3, padding=padding), gain=2)
        self.norm1 = _norm(n_out, settings)
        self.conv2 = initialise(nn.Conv2d(n_out, n_out, 3, padding=padding), gain=1 if settings.residual else 2)
        self.norm2 = _norm(n_out, settings)
        self.activation = _activation(settings)
        # no module in plain blocks, so that their checkpoints have no such parameters
        self.shortcut = initialise(nn.Conv2d(n_in, n_out, 1), gain=1) if settings.residual else None
        self.attention = ScSE(n_out) if settings.attention == "scse" else nn.Identity()
        self.before, self.between, self.after = (
            nn.Dropout(rates.get(place, 0.0)) for place in ("before", "between", "after")
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.between(self.activation(self.norm1(self.conv1(self.before(x)))))
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None:
            y = y + _middle(self.shortcut(x), y.shape[-2], y.shape[-1])
        found: Tensor = self.after(self.attention(self.activation(y)))
        return found


class _Interpolation(nn.Module):
    """Interpolation that doubles the sides, after a convolution that halves the channels."""

    def __init__(self, n_in: int, n_out: int, settings: PlainUNetSettings) -> None:
        super().__init__()
        self.mode = settings.upsampling
        self.half_seen = _half_seen(settings)
        self.conv = initialise(nn.Conv2d(n_in, n_out, 1), gain=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.conv(x), scale_factor=2, mode=self.mode)
        return _middle(x, x.shape[-2] - self.half_seen, x.shape[-1] - self.half_seen)


def _upsampling(n_in: int, n_out: int, settings: PlainUNetSettings) -> nn.Module:
    """Build the module that doubles the sides and halves the channels."""
    if settings.upsampling == "transposed2":
        return initialise(nn.ConvTranspose2d(n_in, n_out, 2, stride=2), gain=1)
    if settings.upsampling == "transposed3":
        padding = 1 + _half_seen(settings) // 2
        return initialise(nn.ConvTranspose2d(n_in, n_out, 3, stride=2, padding=padding, output_padding=1), gain=1)
    return _Interpolation(n_in, n_out, settings)


def _lost_px(settings: PlainUNetSettings) -> int:
    """Count the pixels of a side that are lost on the way down and up, if every pooling halves it evenly."""
    if settings.padding == "same":
        return 0
    multiple = 1 << settings.depth
    # a block costs 4 pixels of its own level: once at each level down, once at the lowest, once at each level up
    return 4 * multiple + (4 + 4 + _half_seen(settings)) * (multiple - 1)


def _half_seen(settings: PlainUNetSettings) -> int:
    return _HALF_SEEN_PX[settings.upsampling] if settings.padding == "valid" else 0


def _norm(channels: int, settings: PlainUNetSettings) -> nn.Module:
    if settings.norm == "batch":
        return nn.BatchNorm2d(channels)
    if settings.norm == "group":
        return nn.GroupNorm(max(1, math.gcd(channels, 16) // 2), channels)
    return nn.Identity()


def _activation(settings: PlainUNetSettings) -> nn.Module:
    return nn.ReLU() if settings.activation == "relu" else nn.ELU()


def _middle(grid: Tensor, height: int, width: int) -> Tensor:
    """Crop (..., H', W') to its middle."""
    top, left = (grid.shape[-2] - height) // 2, (grid.shape[-1] - width) // 2
    return grid[..., top : top + height, left : left + width]
