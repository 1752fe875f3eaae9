"""The articles' experiments: every one is the network that it says it is."""

import numpy as np
import pytest
import torch

from kaggle_unet.config import load_config, plain
from kaggle_unet.data.augment import CachedSample, draw_transform
from kaggle_unet.models.create import create_model, input_sizes
from kaggle_unet.synthetic.images import draw_nuclei
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.types import Sample


def conv(n_in, n_out, side=3):
    return side**2 * n_in * n_out + n_out


def n_plain(n_in, n_out, filters, *, up_side, norms=False):
    """Count the parameters of a U-Net with four poolings, worked out level by level."""
    widths = [filters * 2**level for level in range(5)]
    down = sum(conv(a, b) + conv(b, b) for a, b in zip([n_in, *widths], widths, strict=False))
    up = sum(conv(2 * width, width, up_side) + conv(2 * width, width) + conv(width, width) for width in widths[:-1])
    n_normed = 2 * widths[-1] + 4 * sum(widths[:-1])  # channels, two blocks of two norms but at the bottom
    return down + up + conv(widths[0], n_out, 1) + (2 * n_normed if norms else 0)


def n_smp_decoder(sources, *, n_out, centre=0):
    """Count those of smp's U-Net above its encoder: (channels in, channels out) a block, batch norm and no biases."""
    blocks = sum(9 * n_in * n + 9 * n * n + 4 * n for n_in, n in sources)
    return blocks + centre + conv(sources[-1][1], n_out)


RESNET_BLOCKS = [(512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16)]
VGG_BLOCKS = [(512 + 512, 256), (256 + 512, 128), (128 + 256, 64), (64 + 128, 32), (32, 16)]
N_RESNET34, N_VGG16 = 21_284_672, 14_714_688  # torchvision's, without their classifiers
VGG_CENTRE = 2 * (9 * 512 * 512 + 2 * 512)


def n_scse(sources):
    """Count the gates of smp's blocks: one on what enters (with its skip), one on what leaves."""
    return sum(2 * n * (n // 16) + n // 16 + n + n + 1 for n_in, n_out in sources for n in (n_in, n_out))


SALT = {side: n_plain(1, 1, 16, up_side=side, norms=True) for side in (1, 2, 3)}
# name: parameters to train, side of the inputs, shape of the logits
ARTICLES = {
    "keras_salt_unet": (SALT[3], 128, (1, 128, 128)),
    "upsampling_transposed2": (SALT[2], 128, (1, 128, 128)),
    "upsampling_transposed3": (SALT[3], 128, (1, 128, 128)),
    "upsampling_nearest": (SALT[1], 128, (1, 128, 128)),
    "upsampling_bilinear": (SALT[1], 128, (1, 128, 128)),
    "elu_unet": (n_plain(3, 1, 64, up_side=2), 256, (1, 256, 256)),
    "original_unet": (n_plain(1, 2, 64, up_side=2), 572, (2, 388, 388)),
    "dsb2018_multiclass": (N_RESNET34 + n_smp_decoder(RESNET_BLOCKS, n_out=3), 256, (3, 256, 256)),
    "ternausnet": (22_927_393, 128, (1, 128, 128)),
    "vgg16": (N_VGG16 + n_smp_decoder(VGG_BLOCKS, n_out=2, centre=VGG_CENTRE), 256, (2, 256, 256)),
    # the d of resnet34d: three convolutions of 3 × 3 for the one of 7 × 7, and their norms
    "dynamic_unet": (
        N_RESNET34
        + (9 * 3 * 32 + 9 * 32 * 32 + 9 * 32 * 64 + 2 * 64 - 49 * 3 * 64)
        + n_smp_decoder(RESNET_BLOCKS, n_out=1)
        + n_scse(RESNET_BLOCKS),
        128,
        (1, 128, 128),
    ),
}


def load(repository, name):
    return load_config(repository / "configs" / "articles" / f"{name}.yaml")


def build(config):
    codec = CODECS[config.codec.name]
    with torch.device("meta"):  # shapes only
        return create_model(
            config.model, in_channels=len(config.input.channels), out_channels=len(codec.planes), load_encoder=False
        ).eval()


def test_every_article_is_tested(repository):
    assert {path.stem for path in (repository / "configs" / "articles").glob("*.yaml")} == set(ARTICLES)


@pytest.mark.parametrize("name", ARTICLES)
def test_an_article_has_its_parameters_and_its_output(repository, name):
    config = load(repository, name)
    wanted, side, shape = ARTICLES[name]
    model = build(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted
    logits = model(torch.empty(1, len(config.input.channels), side, side, device="meta"))
    assert logits.shape == (1, *shape)


@pytest.mark.parametrize("name", ARTICLES)
def test_an_article_s_comment_says_what_it_is_and_how_many_parameters_it_has(repository, name):
    text = (repository / "configs" / "articles" / f"{name}.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert f"{ARTICLES[name][0]:,} parameters" in comment
    assert f"kaggle-unet train configs/articles/{name}.yaml" in comment


def test_the_keras_article_has_2161361_parameters_to_train_and_2164305_with_running_statistics(repository):
    model = build(load(repository, "keras_salt_unet"))
    running = sum(value.numel() for key, value in model.named_buffers() if "running" in key)
    assert SALT[3] == 2_161_361
    assert SALT[3] + running == 2_164_305


def test_the_four_upsamplings_differ_in_nothing_else(repository):
    trees = [plain(load(repository, name)) for name in ARTICLES if name.startswith("upsampling_")]
    assert sorted(tree["model"].pop("upsampling") for tree in trees) == [
        "bilinear",
        "nearest",
        "transposed2",
        "transposed3",
    ]
    assert all(tree == trees[0] for tree in trees)


@pytest.mark.parametrize("name", [name for name in ARTICLES if name != "original_unet"])
def test_crops_are_of_a_size_that_the_network_takes(repository, name):
    config = load(repository, name)
    side = config.augmentation.crop_px
    assert side is None or side % input_sizes(config.model)[0] == 0


def test_the_keras_u_net_has_the_dropout_of_the_article_s_function(repository):
    modules = build(load(repository, "keras_salt_unet")).modules()
    rates = [module.p for module in modules if isinstance(module, torch.nn.Dropout) and module.p]
    assert rates == [0.1] * 8  # before every block but the first of nine


def test_the_u_net_on_vgg16_upsamples_bilinearly(repository, monkeypatch):
    modes = []
    interpolate = torch.nn.functional.interpolate

    def listen(*arguments, **options):
        modes.append(options["mode"])
        return interpolate(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "interpolate", listen)
    build(load(repository, "vgg16"))(torch.empty(1, 3, 64, 64, device="meta"))
    assert modes == ["bilinear"] * 5


def test_the_original_u_net_deforms_every_crop_elastically_on_a_grid_of_three_by_three(repository):
    config = load(repository, "original_unet")
    sample = Sample("a", *draw_nuclei(np.random.default_rng(0), (64, 64)))
    cached = CachedSample.of(sample, config.input)
    knots = [draw_transform(np.random.default_rng(seed), config.augmentation, cached).knots for seed in range(200)]
    assert {grid.shape for grid in knots} == {(3, 3, 2)}
    assert np.std(knots) == pytest.approx(10 * 0.96, rel=0.05)  # a normal distribution cut at two of its deviations
