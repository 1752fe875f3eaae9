"""Tiles: where they lie, that they merge into the picture they were cut from, and that no network sees a seam."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.errors import ConfigError
from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.inference.tiles import ZERO_WEIGHT, cut_tile, merge_tiles, plan_tiles
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import PlainUNetSettings

SIDES = st.integers(1, 90)


@st.composite
def layouts(draw):
    """Shapes with tiles, overlap, multiple and margin that fit each other."""
    multiple = draw(st.sampled_from([1, 2, 4, 8]))
    margin = draw(st.sampled_from([0, 0, 3, 6]))
    options = {"tile_px": draw(st.integers(8, 64)), "overlap_px": draw(st.integers(0, 40))}
    overlap = -(-(2 * margin or options["overlap_px"]) // multiple) * multiple
    assume(options["tile_px"] // multiple * multiple > overlap)
    return (draw(SIDES), draw(SIDES)), {**options, "pad_spec": PadSpec(multiple, margin)}


def merge(image, tiles, margin):
    """Cut all tiles, lose their margins, put them together."""
    inside = slice(margin, -margin or None)
    pieces = ((tile, cut_tile(image, tile)[:, inside, inside]) for tile in tiles)
    rows = list(merge_tiles(pieces, image.shape[2]))
    assert [part.start for part, _ in rows] == [0, *(part.stop for part, _ in rows[:-1])]
    assert all(planes.shape[1] == part.stop - part.start for part, planes in rows)
    return np.concatenate([planes for _, planes in rows], axis=1)


@given(layout=layouts(), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_merging_undoes_cutting(layout, seed):
    shape, options = layout
    image = np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)
    np.testing.assert_allclose(merge(image, plan_tiles(shape, **options), options["pad_spec"].margin), image, atol=1e-5)


@given(layout=layouts())
@settings(max_examples=150, deadline=None)
def test_tiles_are_alike_and_lie_on_the_grid_of_the_poolings(layout):
    shape, options = layout
    tiles = plan_tiles(shape, **options)
    multiple, margin = options["pad_spec"]
    for axis, length in enumerate(shape):
        found = {id(span): span for span in (tile[axis] for tile in tiles)}.values()
        first, last = min(one.start for one in found), max(one.start + one.side for one in found)
        assert len({one.side for one in found}) == 1
        assert all((one.start - first) % multiple == 0 and one.side % multiple == 0 for one in found)
        assert all(one.side <= options["tile_px"] for one in found) or len(found) == 1
        assert min(-first, last - length) >= margin  # the network's margin lies beyond the image


def test_planes_near_a_tile_s_edge_have_no_weight_but_at_the_image_s_own_edge():
    left, right = (columns for _, columns in plan_tiles((16, 48), tile_px=32, overlap_px=16, pad_spec=PadSpec()))
    silent = int(ZERO_WEIGHT * 16)
    assert (left.out, right.out) == (slice(0, 32), slice(16, 48))
    assert (left.weight[:16] == 1).all()
    assert (left.weight[-silent:] == 0).all()
    assert (right.weight[:silent] == 0).all()
    assert 0 < right.weight[silent] < right.weight[silent + 1] < 1
    np.testing.assert_allclose(left.weight[16:] + right.weight[:16], 1, atol=1e-6)


def test_the_image_is_mirrored_beyond_its_edges():
    image = np.arange(15, dtype=np.float32).reshape(1, 3, 5)
    (tile,) = plan_tiles((3, 5), tile_px=32, overlap_px=0, pad_spec=PadSpec(16))
    np.testing.assert_array_equal(cut_tile(image, tile), np.pad(image, ((0, 0), (6, 7), (5, 6)), mode="symmetric"))


def test_outputs_of_a_network_without_padding_abut_as_nearly_as_the_grid_allows():
    tiles = plan_tiles((10, 1540), tile_px=576, overlap_px=256, pad_spec=PadSpec(16, 94))
    outs = [(columns.out.start, columns.out.stop) for _, columns in tiles]
    assert outs == [(0, 388), (384, 772), (768, 1156), (1152, 1540)]


def test_tiles_that_are_all_overlap_are_refused():
    with pytest.raises(ConfigError, match=r"tile_px, or lower inference\.overlap_px"):
        plan_tiles((100, 100), tile_px=32, overlap_px=32, pad_spec=PadSpec())


def predict(network, image, **options):
    """Predict one image."""
    settings = InferenceSettings(pad_to_multiple=getattr(network, "multiple", 1), **{"flips": "none", **options})
    ((_, planes),) = predict_planes([network], [("a", image)], settings=settings, activation="sigmoid", device="cpu")
    return planes


@pytest.mark.parametrize("flips", ["none", "d4"])
@pytest.mark.parametrize(
    ("options", "tiling"),
    [
        ({"depth": 2}, {"tile_px": 96, "overlap_px": 64}),  # sees 22 pixels far: less than 3/8 · 64
        ({"depth": 2, "upsampling": "bilinear"}, {"tile_px": 96, "overlap_px": 72}),
        ({"depth": 3, "padding": "valid"}, {"tile_px": 128, "overlap_px": 0}),
    ],
)
def test_a_plain_unet_gives_in_tiles_what_it_gives_for_the_whole_image(options, tiling, flips):
    torch.manual_seed(0)
    network = PlainUNet(1, 2, PlainUNetSettings(filters=4, norm="batch", **options))
    image = np.random.default_rng(0).standard_normal((1, 150, 203)).astype(np.float32)
    whole = predict(network, image, flips=flips, tile_px=1536)
    tiled = predict(network, image, flips=flips, **tiling)
    assert (whole.dtype, tiled.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(tiled, whole, atol=6e-4)  # half precision


@pytest.mark.parametrize("scales", [(0.5,), (0.5, 1, 2)])
def test_tiles_shown_at_half_their_size_overlap_by_twice_as_much(scales):
    torch.manual_seed(0)
    network = PlainUNet(1, 2, PlainUNetSettings(filters=4, depth=2))
    image = np.random.default_rng(0).standard_normal((1, 60, 600)).astype(np.float32)
    whole = predict(network, image, scales=scales)
    tiled = predict(network, image, scales=scales, tile_px=256, overlap_px=64)  # begin at multiples of 8
    assert (whole.dtype, tiled.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(tiled, whole, atol=6e-4)  # half precision


def test_small_scales_widen_the_overlap_as_far_as_the_tiles_allow():
    network = PlainUNet(1, 2, PlainUNetSettings(filters=2, depth=2))
    image = np.random.default_rng(0).standard_normal((1, 40, 300)).astype(np.float32)
    for tile_px, scale in ((128, 0.5), (128, 0.1), (68, 0.5)):
        tiled = predict(network, image, tile_px=tile_px, overlap_px=64, scales=(scale, 1))
        assert (tiled.dtype, tiled.shape) == (np.float16, (2, 40, 300))


def test_an_overlap_narrower_than_what_the_network_sees_shows():
    torch.manual_seed(0)
    network = PlainUNet(1, 2, PlainUNetSettings(filters=4, depth=2))
    image = np.random.default_rng(0).standard_normal((1, 150, 203)).astype(np.float32)
    tiled = predict(network, image, tile_px=96, overlap_px=8)
    assert np.abs(tiled - predict(network, image)).max() > 0.005


def test_large_and_small_images_come_in_their_order():
    class Same(torch.nn.Module):
        def forward(self, inputs):
            return inputs

    rng = np.random.default_rng(1)
    images = {f"{side}": rng.standard_normal((1, side, side)).astype(np.float32) for side in (40, 20, 30, 50)}
    planes = dict(
        predict_planes(
            [Same()], images.items(), settings=InferenceSettings(tile_px=32, overlap_px=8), activation="sigmoid",
            device="cpu",
        )
    )  # fmt: skip
    assert list(planes) == list(images)
    for name, image in images.items():
        np.testing.assert_allclose(planes[name], 1 / (1 + np.exp(-image)), atol=6e-4)
