import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kaggle_unet.data.batch import PadSpec, pad_to, padded_shape
from kaggle_unet.errors import ConfigError, KitError, ResourceError
from kaggle_unet.inference.predict import plan_batches, predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import PlainUNetSettings


class Lopsided(nn.Module):
    """A random convolution, which no symmetry leaves alone."""

    def __init__(self, seed, n_planes=2):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(n_planes, 1, 5, 3, generator=generator))

    def forward(self, inputs):
        return nn.functional.conv2d(inputs, self.weight, padding=(2, 1))


class Position(nn.Module):
    """Counts rows and columns from the upper left corner, whatever the image."""

    def forward(self, inputs):
        _, _, height, width = inputs.shape
        rows = torch.arange(height).view(1, 1, -1, 1).expand(inputs.shape)
        columns = torch.arange(width).view(1, 1, 1, -1).expand(inputs.shape)
        return torch.cat([rows, columns], dim=1) * 0.1


def predict(models, images, flips="none", **options):
    options = {"activation": "sigmoid", "device": "cpu", "batch": 8, "multiple": 1, **options}
    mine = {name: options.pop(name) for name in ("scales", "mean", "weights") if name in options}
    batch, multiple = options.pop("batch"), options.pop("multiple")
    inference = InferenceSettings(flips=flips, batch=batch, pad_to_multiple=multiple, **mine)
    return dict(predict_planes(models, images.items(), settings=inference, **options))


def draw(rng, height, width):
    return rng.standard_normal((1, height, width)).astype(np.float32)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def forward(model, image):
    """Predict one image alone, without views or padding."""
    with torch.no_grad():
        return sigmoid(model(torch.from_numpy(image.copy())[None])[0].numpy())


def average_by_numpy(model, image):
    """Average the eight views in numpy's own words."""
    total = 0
    for turns in range(4):
        turned = np.rot90(image, turns, axes=(1, 2))
        total = total + np.rot90(forward(model, turned), -turns, axes=(1, 2))
        mirrored = turned[..., ::-1]
        total = total + np.rot90(forward(model, mirrored)[..., ::-1], -turns, axes=(1, 2))
    return total / 8


@given(height=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_d4_is_the_mean_over_turned_and_mirrored_images(height, width, seed):
    image = draw(np.random.default_rng(seed), height, width)
    planes = predict([Lopsided(seed)], {"a": image}, flips="d4")["a"]
    np.testing.assert_allclose(planes, average_by_numpy(Lopsided(seed), image), atol=1e-6)


@pytest.mark.parametrize("model", [Lopsided(0), Position()])
def test_horizontal_is_the_mean_over_the_image_and_its_mirror_image(model):
    image = draw(np.random.default_rng(0), 4, 7)
    wanted = (forward(model, image) + forward(model, image[..., ::-1])[..., ::-1]) / 2
    np.testing.assert_allclose(predict([model], {"a": image}, flips="horizontal")["a"], wanted, atol=1e-6)


def test_models_are_averaged_after_their_activation():
    models = [Lopsided(seed) for seed in range(3)]
    image = draw(np.random.default_rng(1), 6, 5)
    wanted = np.mean([forward(model, image) for model in models], axis=0)
    np.testing.assert_allclose(predict(models, {"a": image})["a"], wanted, atol=1e-6)


def test_softmax_planes_sum_to_1_over_flips_and_models():
    models = [Lopsided(seed, n_planes=3) for seed in range(2)]
    planes = predict(models, {"a": draw(np.random.default_rng(2), 5, 8)}, flips="d4", activation="softmax")["a"]
    np.testing.assert_allclose(planes.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (31, 33), (16, 32), (101, 101)])
def test_images_of_any_size_are_mirrored_to_the_multiple_and_cut_back(shape):
    image = draw(np.random.default_rng(3), *shape)
    planes = predict([Lopsided(3)], {"a": image}, multiple=16)["a"]
    padded, (rows, columns) = pad_to(image, padded_shape(shape, PadSpec(16)))
    assert planes.shape == (2, *shape)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, forward(Lopsided(3), padded)[:, rows, columns], atol=1e-6)


def test_results_come_in_the_order_of_the_items_and_belong_to_their_ids():
    rng = np.random.default_rng(4)
    images = {f"{number}": draw(rng, *shape) for number, shape in enumerate([(3, 4)] * 5 + [(4, 3), (3, 4), (3, 4)])}
    planes = predict([Lopsided(4)], images, batch=2)
    assert list(planes) == list(images)
    for sample, image in images.items():
        np.testing.assert_allclose(planes[sample], forward(Lopsided(4), image), atol=1e-6)


class Recorder(Lopsided):
    """Remembers the shapes it was given."""

    def forward(self, inputs):
        self.seen = [*getattr(self, "seen", []), tuple(inputs.shape)]
        return super().forward(inputs)


def test_consecutive_images_of_one_padded_size_share_a_batch():
    rng = np.random.default_rng(5)
    model = Recorder(5)
    predict(
        [model],
        {str(n): draw(rng, *shape) for n, shape in enumerate([(3, 3)] * 3 + [(4, 1), (5, 5)])},
        batch=2,
        multiple=4,
    )
    assert model.seen == [(2, 1, 4, 4), (2, 1, 4, 4), (1, 1, 8, 8)]


def test_leaving_out_whole_planned_batches_leaves_the_others_as_they_were():
    rng = np.random.default_rng(6)
    images = {f"{number}": draw(rng, *shape) for number, shape in enumerate([(3, 4), (9, 9)] * 4 + [(30, 2)])}
    plan = plan_batches({k: v.shape[1:] for k, v in images.items()}, InferenceSettings(batch=3, pad_to_multiple=8))
    model = Recorder(6)
    predict([model], {sample: images[sample] for batch in plan for sample in batch}, batch=3, multiple=8)
    whole, model.seen = model.seen, []
    predict([model], {sample: images[sample] for batch in plan[1:] for sample in batch}, batch=3, multiple=8)
    assert [shape[0] for shape in whole] == [len(batch) for batch in plan]
    assert model.seen == whole[1:]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (13, 40)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_unpadded_networks_predict_the_whole_image(shape, depth):
    model = PlainUNet(1, 2, PlainUNetSettings(filters=2, depth=depth, padding="valid", norm="none")).eval()
    image = draw(np.random.default_rng(7), *shape)
    planes = predict([model], {"a": image}, multiple=2**depth)["a"]
    assert planes.shape == (2, *shape)
    # a far larger mirrored image shows the same pixels, as an unpadded network sees no border of its own; borders that
    # differ by a multiple leave the pixels where the poolings expect them
    padded, (rows, columns) = pad_to(image, padded_shape(shape, PadSpec(2**depth, model.margin)))
    wider = np.pad(padded, ((0, 0), (2**depth, 2**depth), (2**depth, 2**depth)))
    top, left = rows.start + 2**depth - model.margin, columns.start + 2**depth - model.margin
    wanted = forward(model, wider)[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_allclose(planes, wanted, atol=1e-5)


def test_networks_of_different_margins_are_averaged_pixel_by_pixel():
    torch.manual_seed(8)
    unpadded = PlainUNet(1, 2, PlainUNetSettings(filters=2, depth=1, padding="valid", norm="none")).eval()
    image = draw(np.random.default_rng(8), 20, 24)
    apart = [predict([model], {"a": image}, multiple=2)["a"] for model in (Lopsided(8), unpadded)]
    together = predict([Lopsided(8), unpadded], {"a": image}, multiple=2)["a"]
    assert unpadded.margin > 0
    # the lopsided model sees mirrored borders instead of zeros: compare where its window stays inside
    inside = np.s_[:, 2:-2, 1:-1]
    np.testing.assert_allclose(together[inside], np.mean(apart, axis=0)[inside], atol=1e-5)


class Witness(PlainUNet):
    """Remembers in what precision and memory layout it computed."""

    def forward(self, inputs):
        logits = super().forward(inputs)
        is_channels_last = inputs.is_contiguous(memory_format=torch.channels_last)
        self.seen = logits.dtype, is_channels_last and not inputs.is_contiguous()
        return logits


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_precision_and_memory_layout_are_those_of_the_arguments(dtype, channels_last):
    torch.manual_seed(9)
    model = Witness(2, 2, PlainUNetSettings(filters=4, depth=1))
    images = {"a": np.random.default_rng(9).standard_normal((2, 16, 16)).astype(np.float32)}
    exact = predict([model], images, multiple=2)["a"]
    planes = predict([model], images, multiple=2, autocast_dtype=dtype, channels_last=channels_last)["a"]
    assert model.seen == (dtype or torch.float32, channels_last)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, exact, atol=0.05 if dtype else 1e-5)


def test_models_are_set_to_evaluation_and_the_reader_keeps_its_gradients():
    model = nn.Sequential(Lopsided(10), nn.Dropout(0.9)).train()
    stream = predict_planes(
        [model],
        [("a", np.ones((1, 4, 4), np.float32)), ("b", np.ones((1, 4, 4), np.float32))],
        settings=InferenceSettings(batch=1),
        activation="sigmoid",
        device="cpu",
    )
    next(stream)
    assert not model.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_prediction_that_is_not_finite_names_the_image():
    images = {"good": np.zeros((1, 2, 2), np.float32), "bad": np.full((1, 2, 2), np.nan, np.float32)}
    with pytest.raises(KitError, match="'bad' is not finite"):
        predict([Lopsided(11)], images)


class Hungry(Lopsided):
    """Has memory for so many images at once."""

    def __init__(self, at_most):
        super().__init__(5)
        self.at_most, self.sizes = at_most, []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        if len(inputs) > self.at_most:
            raise torch.OutOfMemoryError
        return super().forward(inputs)


def test_a_batch_too_large_for_the_device_is_halved_until_it_fits_and_that_is_said():
    rng = np.random.default_rng(12)
    images = {f"{number:02}": draw(rng, 4, 5) for number in range(14)}
    hungry = Hungry(at_most=2)
    with pytest.warns(UserWarning, match="does not fit into the memory of cpu; from here on") as said:
        planes = predict([hungry], images)
    assert hungry.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2], "the second batch has learnt from the first"
    assert [str(warning.message).partition("on ")[2][:9] for warning in said] == ["4 at once", "2 at once"]
    assert list(planes) == list(images)
    for name, image in images.items():
        np.testing.assert_allclose(planes[name], forward(Lopsided(5), image), atol=1e-6)


def test_an_image_too_large_for_the_device_names_the_remedy():
    with pytest.raises(ResourceError, match=r"batch of 1 × 1 × 2 × 2 \(from 'a'\) does not .* lower inference.tile_px"):
        predict([Hungry(0)], {"a": np.zeros((1, 2, 2), np.float32)})


class Sides(nn.Module):
    """Gives the height and width of its inputs."""

    def forward(self, inputs):
        height, width = inputs.shape[-2:]
        return torch.cat([torch.full_like(inputs, height / 100), torch.full_like(inputs, width / 100)], dim=1)


class Same(nn.Module):
    """Gives its inputs back."""

    def forward(self, inputs):
        return inputs.repeat(1, 2, 1, 1)


def test_networks_are_shown_images_of_every_scale_and_their_planes_are_averaged():
    image = draw(np.random.default_rng(0), 16, 32)
    planes = predict([Sides()], {"a": image}, scales=(0.5, 1.0, 2.0), multiple=8)["a"]
    assert planes.shape == (2, 16, 32)
    np.testing.assert_allclose(planes[0], np.mean([sigmoid(side / 100) for side in (8, 16, 32)]), rtol=1e-5)
    np.testing.assert_allclose(planes[1], np.mean([sigmoid(side / 100) for side in (16, 32, 64)]), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.4, 0.5, 1.01])
def test_images_keep_their_form_at_every_scale_and_are_mirrored_to_sides_that_the_network_takes(scale):
    seen = []

    class Seeing(Same):
        def forward(self, inputs):
            seen.append(inputs)
            return super().forward(inputs)

    y, x = np.mgrid[:160, :96].astype(np.float32)
    predict([Seeing()], {"a": np.stack([y, x])}, scales=(scale,), multiple=32)
    height, width = round(160 * scale), round(96 * scale)
    (rows, columns) = seen[0][0].numpy()
    assert (len(rows) % 32, columns.shape[1] % 32) == (0, 0)
    assert 0 <= len(rows) - height < 32
    assert 0 <= columns.shape[1] - width < 32
    top, left = (len(rows) - height) // 2, (columns.shape[1] - width) // 2
    steps = np.diff(rows[top : top + height, 0]), np.diff(columns[0, left : left + width])
    for step, side, n in zip(steps, (160, 96), (height, width), strict=True):
        np.testing.assert_allclose(step[2:-2], side / n, atol=0.05)  # not beside the edges, which are smoothed


def test_scaled_sides_need_not_be_those_that_images_are_padded_to():
    image, how = (
        draw(np.random.default_rng(0), 32, 32)[:, :20, :20],
        InferenceSettings(scales=(0.75,), pad_to_multiple=32),
    )
    ((_, planes),) = predict_planes(
        [Sides()], [("a", image)], settings=how, activation="sigmoid", device="cpu", multiple=8
    )
    np.testing.assert_allclose(planes[:, 0, 0], sigmoid(0.24), rtol=1e-5)


@given(scale=st.sampled_from([0.5, 0.75, 1.5, 2.0]), seed=st.integers(0, 99), flips=st.sampled_from(["none", "d4"]))
@settings(max_examples=20, deadline=None)
def test_planes_of_every_scale_lie_where_the_image_lies(scale, seed, flips):
    y, x = np.mgrid[:32, :48] / 32
    a, b = np.random.default_rng(seed).uniform(-2, 2, 2)
    image = (a * y + b * x)[None].astype(np.float32)
    planes = predict([Same()], {"a": image}, flips=flips, scales=(scale,))["a"]
    inner = (slice(None), slice(6, -6), slice(6, -6))  # at the edges interpolation repeats them
    np.testing.assert_allclose(planes[inner], np.repeat(sigmoid(image), 2, axis=0)[inner], atol=0.001)


def test_a_network_without_padding_is_not_shown_other_scales():
    model = PlainUNet(1, 1, PlainUNetSettings(filters=2, depth=1, padding="valid"))
    with pytest.raises(ConfigError, match=r"inference\.scales \(0\.5,\): a network without padding"):
        predict([model], {"a": draw(np.random.default_rng(0), 64, 64)}, scales=(0.5,))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_geometric_mean_adds_up_to_one(activation):
    image = draw(np.random.default_rng(0), 6, 7)
    models = [Lopsided(0), Lopsided(1), Lopsided(2)]
    each = [predict([model], {"a": image}, activation=activation)["a"].astype(np.float64) for model in models]

    planes = predict(models, {"a": image}, activation=activation, mean="geometric")["a"]

    mean = np.prod(each, axis=0) ** (1 / 3)
    if activation == "softmax":
        expected = mean / mean.sum(axis=0)
    else:  # every plane is a question of its own: yes or no
        expected = mean / (mean + np.prod([1 - one for one in each], axis=0) ** (1 / 3))
    np.testing.assert_allclose(planes, expected, rtol=1e-4)


def test_checkpoints_count_as_much_as_their_weights():
    image = draw(np.random.default_rng(0), 6, 7)
    models = [Lopsided(0), Lopsided(1)]
    one, two = (predict([model], {"a": image}, flips="d4")["a"] for model in models)

    planes = predict(models, {"a": image}, flips="d4", weights=(3.0, 1.0))["a"]

    np.testing.assert_allclose(planes, 0.75 * one + 0.25 * two, atol=1e-6)
    np.testing.assert_array_equal(
        predict(models, {"a": image}, weights=(1.0, 1.0))["a"], predict(models, {"a": image})["a"]
    )


def test_what_a_network_caches_in_a_prediction_can_be_trained_with():
    kept = []

    class Caching(Lopsided):
        def forward(self, inputs):
            kept.append(inputs * 2)
            return super().forward(inputs)

    predict([Caching(3)], {"a": np.ones((1, 4, 4), np.float32)})
    (kept[0] * torch.ones(1, requires_grad=True)).sum().backward()
