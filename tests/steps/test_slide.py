"""Slides: read, predicted and decoded by blocks, in any number of shards, they are segmented as in one piece."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import tifffile
import zarr

from kaggle_unet.errors import DataError
from kaggle_unet.io.images import decode_image
from kaggle_unet.io.slides import create_ome_zarr, is_slide, open_slide
from kaggle_unet.steps import slide
from kaggle_unet.synthetic.images import draw_nuclei
from tests.steps.conftest import call
from tests.steps.test_segment import contents

folder_only = pytest.mark.parametrize("trained", ["folder"], indirect=True)
IMAGE, _ = draw_nuclei(np.random.default_rng(0), (300, 200), n=60)
TILES = ("--set", "inference.tile_px=96", "--set", "inference.overlap_px=32")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(slide, "STRIP_PX", 64)
    monkeypatch.setattr(slide, "_STRIPE_PX", 1)
    monkeypatch.setattr(slide, "_SMALLEST_LEVEL_PX", 100)


def write_ome_zarr(path, image, axes="tczyx", **about):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    scale = [{"type": "scale", "scale": [0.5] * len(axes)}]
    described = [{"name": name, "unit": "micrometer"} for name in axes]
    group.attrs["multiscales"] = [
        {"axes": described, "datasets": [{"path": "0", "coordinateTransformations": scale}], **about}
    ]
    array = group.create_array("0", shape=image.shape, chunks=image.shape, dtype=image.dtype)
    array[:] = image
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same image as a TIFF, as OME-Zarr, and as a TIFF in tiles."""
    home = tmp_path_factory.mktemp("slides")
    tifffile.imwrite(home / "one.tif", IMAGE)
    write_ome_zarr(home / "one.ome.zarr", IMAGE[None, None, None])
    (home / "tiled").mkdir()
    options = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(home / "tiled" / "one.tif", IMAGE, tile=(64, 64), **options)
    return home


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@folder_only
def test_a_slide_in_shards_is_segmented_as_an_image_in_one_piece(trained, places, tmp_path, monkeypatch):
    words = ("segment", trained.run, *TILES, "--pixel-size", "0.5", "-o")
    assert call(*words, tmp_path / "whole", places / "one.tif", "--format", "geojson").code == 0
    labels = tifffile.imread(tmp_path / "whole" / "labels" / "one.tif")
    assert labels.max() > 20
    monkeypatch.setenv("KAGGLE_UNET_MAX_IMAGE_PIXELS", "50000")
    for place, shards in ((places / "one.ome.zarr", ()), (places / "tiled" / "one.tif", (3, 1, 2))):
        output = tmp_path / place.parent.name
        monkeypatch.setattr("torch.get_num_threads", lambda n=2 if shards else 1: n)  # processes that measure
        for number in shards:
            assert call(*words, output, place, "--shard", f"{number}/3").code == 0
            assert not (output / "one" / "measurements.csv").exists()
        assert call(*words, output, place).code == 0
        levels = zarr.open_group(output / "one" / "labels.ome.zarr", mode="r")
        np.testing.assert_array_equal(levels["0"][:], labels)
        np.testing.assert_array_equal(levels["2"][:], labels[::4, ::4])
        assert rows(output / "one" / "measurements.csv") == rows(tmp_path / "whole" / "measurements.csv")
        found = json.loads((output / "one" / "objects.geojson").read_text())
        expected = json.loads((tmp_path / "whole" / "geojson" / "one.geojson").read_text())
        assert found == expected
    sliced, sharded = (contents(tmp_path / name / "one") for name in (places.name, "tiled"))
    assert {key: value for key, value in sliced.items() if key != "slide.json"} == {
        key: value for key, value in sharded.items() if key not in {"slide.json", ".lock"}
    }


@folder_only
def test_an_interrupted_slide_goes_on_and_predicts_nothing_twice(trained, places, tmp_path, monkeypatch):
    words = ("segment", trained.run, *TILES, places / "one.ome.zarr", "-o", tmp_path)
    strips, real = [], slide._in_strips

    def stop(blocks, within):
        for strip, planes in real(blocks, within):
            if len(strips) == 3:
                raise KeyboardInterrupt
            strips.append(strip.start)
            yield strip, planes

    monkeypatch.setattr(slide, "_in_strips", stop)
    assert call(*words).code == 130
    monkeypatch.setattr(
        slide, "_in_strips", lambda *given: ((strips.append(s.start), (s, p))[1] for s, p in real(*given))
    )
    assert call(*words).code == 0
    assert strips == [0, 64, 128, 192, 256]


@folder_only
def test_results_made_otherwise_and_rules_for_whole_images_are_refused(trained, places, tmp_path):
    words = ("segment", trained.run, *TILES, places / "one.ome.zarr", "-o", tmp_path)
    assert call(*words, "--shard", "1/9").code == 0
    changed = call(*words, "--set", "inference.overlap_px=48")
    assert changed.code == 2
    assert "inference.overlap_px differ" in changed.err
    assert "(channel differ)" in call(*words, "--set", "competition.channel=0").err
    (tmp_path / "own" / "one").mkdir(parents=True)
    (tmp_path / "own" / "one" / "measurements.csv").write_text("mine")
    answer = call(*words[:-1], tmp_path / "own")
    assert (answer.code, "did not write it; give another output" in answer.err) == (2, True)
    assert (tmp_path / "own" / "one" / "measurements.csv").read_text() == "mine"
    answer = call(*words[:-1], tmp_path / "x", "--set", "inference.object_px=20")
    assert answer.code == 2
    assert "inference.object_px needs the whole image" in answer.err
    answer = call(*words[:-1], tmp_path / "x", "--pixel-size", 0)
    assert (answer.code, "the pixel size is 0.0" in answer.err, (tmp_path / "x").exists()) == (2, True, False)
    for more in ((places / "one.tif",), ("--format", "coco"), ("--report",), ("--skip-bad",)):
        answer = call(*words, *more)
        assert (answer.code, "slides" in answer.err) == (2, True), more


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "message"),
    [
        ((2, 1, 1, 8, 8), "tczyx", "uint8", "expected a plane"),
        ((1, 1, 3, 8, 8), "tczyx", "uint8", "expected a plane"),
        ((8, 8), "yx", "int64", "holds int64"),
        ((8, 8), "zy", "uint8", "expected a plane"),
    ],
)
def test_a_slide_that_is_more_than_one_image_is_refused(tmp_path, shape, axes, dtype, message):
    path = write_ome_zarr(tmp_path / "a.zarr", np.zeros(shape, dtype), axes)
    with pytest.raises(DataError, match=message), open_slide(path):
        pass


COLOURS = np.random.default_rng(1).integers(0, 255, (48, 32, 4), np.uint8)


@pytest.mark.parametrize("channel", [None, 0, 1, "green"])
@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (COLOURS[..., :3], {"photometric": "rgb"}),
        (COLOURS, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (COLOURS[..., 0], {"photometric": "miniswhite"}),
        (
            np.moveaxis(COLOURS[..., :2], 2, 0),
            {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["x", "green"]}}},
        ),
    ],
)
def test_a_slide_is_read_as_an_image_of_the_same_file_is(tmp_path, pixels, options, channel):
    tifffile.imwrite(path := tmp_path / "a.tif", pixels, tile=(16, 16), **options)
    try:
        expected, _ = decode_image(path.read_bytes(), str(path), channel)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))), open_slide(path, channel):
            pass
    else:
        with open_slide(path, channel) as opened:
            np.testing.assert_array_equal(opened.read(slice(0, 48), slice(0, 32)), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extratags": [(274, 3, 1, 6, True)]}, r"a\.tif has the orientation tag 6.*save it upright"),
        ({"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, r"a\.tif has palette colours"),
    ],
)
def test_a_slide_that_would_be_shown_otherwise_is_refused(tmp_path, options, message):
    tifffile.imwrite(path := tmp_path / "a.tif", COLOURS[..., 0], tile=(16, 16), **options)
    with pytest.raises(DataError, match=message), open_slide(path):
        pass


def test_channels_and_boxes_are_read_as_they_lie(tmp_path):
    image = np.random.default_rng(0).integers(0, 9999, (3, 40, 30)).astype(np.uint16)
    with open_slide(write_ome_zarr(tmp_path / "a.ome.zarr", image, "cyx")) as opened:
        assert (opened.name, opened.shape, opened.pixel_size) == ("a", (40, 30), (0.5, 0.5))
        np.testing.assert_array_equal(opened.read(slice(3, 9), slice(2, 4)), np.moveaxis(image[:, 3:9, 2:4], 0, 2))
    with open_slide(tmp_path / "a.ome.zarr", 1) as opened:
        np.testing.assert_array_equal(opened.read(slice(3, 9), slice(2, 4)), image[1, 3:9, 2:4])
    with pytest.raises(DataError, match=r"has the channels 0, 1, 2, .*not competition\.channel 3"):
        open_slide(tmp_path / "a.ome.zarr", 3).__enter__()


def test_a_folder_that_is_no_ome_zarr_is_named(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    assert is_slide(str(tmp_path / "a.zarr"))
    with pytest.raises(DataError, match=r"a\.zarr .*get it again"), open_slide(tmp_path / "a.zarr"):
        pass


def test_what_is_written_is_read_as_a_slide_again(tmp_path):
    levels = create_ome_zarr(tmp_path / "a.ome.zarr", (30, 20), "uint8", (0.25, 0.5), n_levels=2)
    levels[0][:] = 7
    shutil.move(tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr")
    with open_slide(tmp_path / "b.ome.zarr") as opened:
        assert (opened.pixel_size, levels[1].shape) == ((0.25, 0.5), (15, 10))
        assert (opened.read(slice(0, 30), slice(0, 20)) == 7).all()
