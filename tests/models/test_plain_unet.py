import itertools

import pytest
import torch

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import PlainUNetSettings

# Both activations meet every padding, every norm and every upsampling, though not every pair of them. 4 filters, so
# that group norm has groups of two channels.
COMBINATIONS = [
    PlainUNetSettings(
        filters=4,
        depth=2,
        padding=padding,
        norm=norm,
        upsampling=upsampling,
        activation=("relu", "elu")[number % 2],
        residual=number % 5 == 0,
    )
    for number, (upsampling, padding, norm) in enumerate(
        itertools.product(
            ["transposed2", "transposed3", "nearest", "bilinear"], ["same", "valid"], ["none", "batch", "group"]
        )
    )
]


def name(settings):
    return f"{settings.padding}-{settings.norm}-{settings.activation}-{settings.upsampling}"


def draw(model, n_channels):
    """Draw inputs that leave something of every U-Net of depth 2: without padding it loses up to 46 pixels."""
    height, width = (8, 12) if model.settings.padding == "same" else (52, 56)
    return torch.randn(2, n_channels, height, width)


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def n_running_statistics(model):
    return sum(value.numel() for key, value in model.named_buffers() if "running" in key)


@pytest.mark.parametrize("settings", COMBINATIONS, ids=name)
class TestEveryCombination:
    def test_the_size_is_kept_but_for_the_margin(self, settings):
        model = PlainUNet(2, 3, settings).eval()
        inputs = draw(model, 2)
        height, width = inputs.shape[2:]
        with torch.no_grad():
            logits = model(inputs)
        assert logits.shape == (2, 3, height - 2 * model.margin, width - 2 * model.margin)
        assert logits.shape[2:] == (model.output_size(height), model.output_size(width))
        assert (model.margin == 0) == (settings.padding == "same")

    def test_every_parameter_has_a_gradient(self, settings):
        torch.manual_seed(0)
        # evaluation: while it trains, a batch norm takes away whatever the bias before it adds
        model = PlainUNet(2, 3, settings).eval()
        logits = model(draw(model, 2))
        (logits * torch.randn(logits.shape)).sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key

    def test_logits_start_near_0_and_differ_between_pixels(self, settings):
        torch.manual_seed(1)
        model = PlainUNet(1, 2, settings)  # training mode, so that batch norm uses the batch
        logits = model(draw(model, 1))
        assert 0.05 < logits.std() < 20


def test_the_keras_layout_has_2161361_parameters_to_train():
    # Worked by hand for 1 -> 16 -> 32 -> 64 -> 128 -> 256 and back, k*k*n_in*n_out + n_out a convolution:
    # encoder 1,178,480; transposed 3 x 3 convolutions 391,920; decoder 588,000; head 17; norms 2 x 1,472 channels.
    model = PlainUNet(1, 1, PlainUNetSettings(filters=16, depth=4, norm="batch", upsampling="transposed3"))
    assert n_parameters(model) == 1_178_480 + 391_920 + 588_000 + 17 + 2 * 1_472 == 2_161_361
    assert n_parameters(model) + n_running_statistics(model) == 2_164_305


def test_a_residual_block_adds_its_input_to_what_its_convolutions_make():
    model = PlainUNet(1, 1, PlainUNetSettings(filters=2, depth=1, norm="none", residual=True))
    block = model.down[0]
    with torch.no_grad():
        block.conv2.weight.zero_()
        block.shortcut.weight.copy_(torch.tensor([3.0, -1.0]).view(2, 1, 1, 1))
        block.shortcut.bias.copy_(torch.tensor([0.5, 0.0]))
        given = torch.tensor([[1.0, -2.0], [0.0, 4.0]]).view(1, 1, 2, 2)
        first, second = block(given)[0]
    assert first.tolist() == [[3.5, 0.0], [0.5, 12.5]]  # 3 x + 1/2, rectified
    assert second.tolist() == [[0.0, 2.0], [0.0, 0.0]]  # −x, rectified


def test_the_shortcut_of_a_block_without_padding_is_of_the_same_pixels():
    model = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=1, padding="valid", norm="none", residual=True))
    block = model.down[0]
    with torch.no_grad():
        block.conv2.weight.zero_()
        block.shortcut.weight.fill_(1.0)
        given = torch.arange(36.0).view(1, 1, 6, 6)
        assert block(given).tolist() == given[:, :, 2:4, 2:4].tolist()


def test_blocks_have_two_convolutions_one_after_the_other():
    model = PlainUNet(1, 1, PlainUNetSettings(filters=2, depth=1, norm="none"))
    for block in [*model.down, *model.merge]:
        assert block.conv2.in_channels == block.conv1.out_channels


def test_without_padding_572_pixels_give_388():
    settings = PlainUNetSettings(filters=64, depth=4, padding="valid", norm="none")
    with torch.device("meta"):  # shapes only
        model = PlainUNet(1, 2, settings)
        assert model(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert model.output_size(572) == 388


@pytest.mark.parametrize("upsampling", ["transposed2", "transposed3", "nearest", "bilinear"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_without_padding_a_tile_gives_what_the_whole_image_gives_there(upsampling, depth):
    torch.manual_seed(2)
    settings = PlainUNetSettings(filters=2, depth=depth, padding="valid", norm="batch", upsampling=upsampling)
    model = PlainUNet(1, 2, settings).eval()
    step = model.multiple
    small = 2 * model.margin + 2 * step
    small -= small % step
    image = torch.randn(1, 1, small + 3 * step, small + 2 * step)
    with torch.no_grad():
        whole, tile = model(image), model(image[..., 2 * step : 2 * step + small, step : step + small])
    height, width = tile.shape[-2:]
    torch.testing.assert_close(tile, whole[..., 2 * step : 2 * step + height, step : step + width])


@pytest.mark.parametrize(
    ("depth", "side", "wanted"),
    # depth 3: 8k + 28 is taken whole and 88 pixels are lost, 4 * 8 + 8 * 7; other even sides lose their surplus first
    [(4, 572, 388), (4, 576, 388), (4, 588, 404), (4, 570, 372), (3, 92, 4), (3, 96, 4), (3, 100, 12), (1, 18, 2)],
)
def test_surplus_pixels_are_lost_at_the_edges(depth, side, wanted):
    model = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=depth, padding="valid", norm="none"))
    assert model.output_size(side) == wanted
    if side < 200:
        assert model(torch.zeros(1, 1, side, side)).shape[-2:] == (wanted, wanted)


@pytest.mark.parametrize(
    ("padding", "side", "message"),
    [
        ("same", 101, "takes multiples of 4: pad to 104"),
        ("valid", 101, "takes even sizes: pad to 102"),
        ("valid", 40, "leave no output .* larger than 40"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_one_that_does(padding, side, message):
    model = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=2, padding=padding, norm="none"))
    with pytest.raises(ConfigError, match=message):
        model(torch.zeros(1, 1, 104, side))


@pytest.mark.parametrize("k", [2, 4])
def test_unshuffle_is_the_network_on_neighbouring_pixels_as_channels(k):
    torch.manual_seed(8)
    small = PlainUNet(3 * k * k, 2 * k * k, PlainUNetSettings(filters=4, depth=2)).eval()
    model = PlainUNet(3, 2, PlainUNetSettings(filters=4, depth=2, unshuffle=k)).eval()
    model.load_state_dict(small.state_dict())
    inputs = torch.randn(2, 3, 8 * k, 12 * k)
    places = [(row, column) for row in range(k) for column in range(k)]
    with torch.no_grad():
        folded = small(
            torch.stack([inputs[:, c, row::k, column::k] for c in range(3) for row, column in places], dim=1)
        )
        logits = model(inputs)
    for plane in range(2):
        for number, (row, column) in enumerate(places):
            assert torch.equal(logits[:, plane, row::k, column::k], folded[:, plane * k * k + number])


def test_unshuffle_asks_for_sides_that_many_times_larger():
    model = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=2, unshuffle=2))
    assert model.multiple == 8
    with pytest.raises(ConfigError, match="takes multiples of 8: pad to 104"):
        model(torch.zeros(1, 1, 104, 100))


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 12, 16, 24, 100])
def test_group_norm_takes_any_number_of_filters(channels):
    model = PlainUNet(1, 1, PlainUNetSettings(filters=channels, depth=1, norm="group"))
    assert model(torch.randn(1, 1, 8, 8)).isfinite().all()
    groups = model.down[0].norm1.num_groups
    assert channels % groups == 0
    assert groups == 1 or channels // groups >= 2


def rates(model):
    """Rates (before, between, after) of the blocks, encoder from the top and decoder from the bottom."""
    return [(block.before.p, block.between.p, block.after.p) for block in [*model.down, *model.merge]]


@pytest.mark.parametrize(
    ("dropout", "place", "wanted"),
    [
        (0.1, "before", [(0, 0, 0)] + [(0.1, 0, 0)] * 4),
        (0.1, "between", [(0, 0.1, 0)] * 5),
        (0.1, "after", [(0, 0, 0.1)] * 5),
        (0.1, "bottleneck", [(0, 0, 0), (0, 0, 0), (0, 0, 0.1), (0, 0, 0), (0, 0, 0)]),
        ((0.1, 0.2, 0.3), "before", [(0, 0, 0), (0.2, 0, 0), (0.3, 0, 0), (0.2, 0, 0), (0.1, 0, 0)]),
        ((0.1, 0.2, 0.3), "between", [(0, 0.1, 0), (0, 0.2, 0), (0, 0.3, 0), (0, 0.2, 0), (0, 0.1, 0)]),
        ((0.1, 0.2, 0.3), "after", [(0, 0, 0.1), (0, 0, 0.2), (0, 0, 0.3), (0, 0, 0.2), (0, 0, 0.1)]),
        ((0.1, 0.2, 0.3), "bottleneck", [(0, 0, 0), (0, 0, 0), (0, 0, 0.3), (0, 0, 0), (0, 0, 0)]),
    ],
)
def test_dropout_goes_where_the_settings_put_it(dropout, place, wanted):
    settings = PlainUNetSettings(filters=1, depth=2, dropout=dropout, dropout_place=place)
    assert rates(PlainUNet(1, 1, settings)) == wanted


def test_dropout_drops_values_while_training_and_none_in_evaluation():
    torch.manual_seed(3)
    model = PlainUNet(1, 1, PlainUNetSettings(filters=4, depth=1, norm="none", dropout=0.5))
    image = torch.randn(1, 1, 8, 8)
    assert not torch.equal(model(image), model(image))
    model.eval()
    assert torch.equal(model(image), model(image))


def test_another_dropout_reads_the_same_checkpoint():
    plain = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=1))
    plain.load_state_dict(PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=1, dropout=0.3)).state_dict())


def test_one_dropout_rate_for_each_level_or_an_error():
    with pytest.raises(ConfigError, match="2 rates but depth 2 has 3 levels"):
        PlainUNetSettings(depth=2, dropout=(0.1, 0.2))


def test_weights_keep_the_variance_and_biases_start_at_0():
    torch.manual_seed(4)
    model = PlainUNet(1, 1, PlainUNetSettings(filters=64, depth=1, norm="none", upsampling="transposed2"))
    assert model.down[1].conv2.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert model.up[0].weight.std().item() == pytest.approx((1 / 128) ** 0.5, rel=0.02), "each output sums 128 values"
    assert all((value == 0).all() for key, value in model.named_parameters() if key.endswith("bias"))


def test_a_network_without_further_heads_reads_older_checkpoints_and_draws_the_same_weights():
    keys = PlainUNet(1, 1, PlainUNetSettings(filters=1, depth=1)).state_dict().keys()
    assert not [key for key in keys if key.split(".")[0] not in {"down", "up", "merge", "head"}]
    torch.manual_seed(5)
    plain = PlainUNet(1, 1, PlainUNetSettings(filters=2, depth=2)).state_dict()
    torch.manual_seed(5)
    more = PlainUNet(
        1, 1, PlainUNetSettings(filters=2, depth=2, hypercolumn=True, empty_head={}, deep_supervision=True)
    )
    assert all(torch.equal(plain[key], more.state_dict()[key]) for key in plain)


def test_sides_come_from_the_decoder_s_lower_levels():
    model = PlainUNet(1, 2, PlainUNetSettings(filters=2, depth=4, deep_supervision=True))
    outputs = model(torch.zeros(1, 1, 64, 32))
    assert [tuple(side.shape) for side in outputs.sides] == [(1, 2, 8, 4), (1, 2, 16, 8), (1, 2, 32, 16)]


def test_sides_teach_lower_levels_even_where_the_head_is_blind():
    torch.manual_seed(6)
    for deep_supervision in (False, True):
        model = PlainUNet(1, 1, PlainUNetSettings(filters=2, depth=2, norm="none", deep_supervision=deep_supervision))
        torch.nn.init.zeros_(model.head.weight)
        output = model(torch.randn(2, 1, 8, 8))
        sum((grid**2).sum() for grid in ([output.logits, *output.sides] if deep_supervision else [output])).backward()
        assert (model.down[-1].conv2.weight.grad.abs().sum() > 0) == deep_supervision


@pytest.mark.parametrize("hypercolumn", [False, True])
def test_a_hypercolumn_shows_the_head_lower_levels_even_where_the_last_is_blank(hypercolumn):
    torch.manual_seed(7)
    model = PlainUNet(1, 1, PlainUNetSettings(filters=4, depth=2, norm="none", hypercolumn=hypercolumn)).eval()
    torch.nn.init.zeros_(model.merge[-1].conv2.weight)
    with torch.no_grad():
        logits = model(torch.randn(1, 1, 16, 16))
    assert (logits.std() > 0.01) == hypercolumn


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "valid", "attention": "scse"},
        {"padding": "valid", "hypercolumn": True},
        {"padding": "valid", "empty_head": {}},
        {"padding": "valid", "unshuffle": 2},
        {"depth": 1, "deep_supervision": True},
    ],
    ids=["scse", "hypercolumn", "empty head", "unshuffle", "no lower level"],
)
def test_parts_that_the_network_can_t_have_are_refused(options):
    with pytest.raises(ConfigError, match=r"padding same|depth of at least 2"):
        PlainUNetSettings(**options)
