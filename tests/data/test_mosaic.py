"""Tiles find each other across their seams, and strangers stay alone."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from kaggle_unet.data import mosaic
from kaggle_unet.synthetic.images import draw_nuclei, stain


def find_mosaics(images):
    return mosaic.join_mosaics({id_: mosaic.cut_edges(image) for id_, image in images.items()})


def find_layouts(images):
    return mosaic.find_layouts({id_: mosaic.cut_edges(image) for id_, image in images.items()})


def cut(picture, rows, columns, name):
    """Cut a picture into tiles, named by their place."""
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    return {
        f"{name}{y}{x}": picture[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y in range(rows)
        for x in range(columns)
    }


def draw(rng, height, width, kind="gray-dark"):
    """Draw a crowded picture, so that every seam cuts through nuclei."""
    return stain(draw_nuclei(rng, (height, width), n=height * width // 300, debris=0)[0], kind)


@pytest.mark.parametrize("kind", ["gray-dark", "gray-bright", "colour"])
def test_four_tiles_of_a_picture_are_found_among_strangers(kind):
    rng = np.random.default_rng(0)
    images = cut(draw(rng, 256, 256, kind), 2, 2, "picture") | cut(draw(rng, 256, 256, kind), 2, 2, "other")
    images |= {f"alone{i}": draw(rng, 128, 128, kind) for i in range(6)}
    expected = {f"{name}{y}{x}": f"mosaic-{name}00" for name in ("other", "picture") for y in (0, 1) for x in (0, 1)}
    assert find_mosaics(images) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda tile: tile.astype(np.uint16) * 257,
        lambda tile: tile + np.uint16(33069),
        lambda tile: np.float32(tile) / 255,
    ],
)
def test_tiles_of_other_types_are_those_of_8_bits(change):
    images = {}
    for seed in range(12):
        picture = draw_nuclei(np.random.default_rng(seed), (192, 192), n=25)[0]
        images |= cut(picture, 2, 2, f"{seed}_") if seed % 2 else {f"alone{seed}": picture[:96, :96]}
    found = find_mosaics(images)
    assert found
    changed = {id_: change(image) for id_, image in images.items()}
    assert find_mosaics(changed) == found
    hot = changed["alone0"].copy()
    hot[0, 0] = 65535
    assert find_mosaics({**changed, "alone0": hot}) == found


def test_places_of_the_tiles_are_those_they_were_cut_from():
    tiles = cut(draw(np.random.default_rng(1), 192, 384), 2, 3, "")
    (layout,) = find_layouts(tiles)
    assert layout == {(y, x): f"{y}{x}" for y in range(2) for x in range(3)}


def test_a_missing_tile_leaves_a_vacant_place():
    tiles = cut(draw(np.random.default_rng(2), 256, 256), 2, 2, "")
    del tiles["00"]
    assert find_layouts(tiles) == [{(0, 1): "01", (1, 0): "10", (1, 1): "11"}]


def test_the_order_of_the_images_does_not_matter():
    images = cut(draw(np.random.default_rng(3), 256, 256), 2, 2, "a")
    assert find_mosaics(dict(reversed(images.items()))) == find_mosaics(images) != {}


def test_separate_pictures_have_no_company():
    rng = np.random.default_rng(4)
    assert find_mosaics({f"{i:02d}": draw(rng, 128, 128) for i in range(40)}) == {}


def test_a_tile_turned_upside_down_does_not_fit():
    left, right = cut(draw(np.random.default_rng(5), 256, 256), 1, 2, "").values()
    assert find_mosaics({"left": left, "right": right}) == {"left": "mosaic-left", "right": "mosaic-left"}
    assert find_mosaics({"left": left, "right": right[::-1].copy()}) == {}


def test_a_tile_of_other_brightness_or_contrast_does_not_fit_although_its_structure_does():
    left, right = cut(draw(np.random.default_rng(7), 256, 256) // 2, 1, 2, "").values()
    ground = np.median(right)
    contrasty = np.clip(ground + 2.5 * (right - ground), 0, 255).astype(np.uint8)
    assert find_mosaics({"left": left, "right": right}) != {}
    assert find_mosaics({"left": left, "right": right + 6}) == {}
    assert find_mosaics({"left": left, "right": contrasty}) == {}


def test_a_tile_is_no_neighbour_of_itself_however_well_it_would_fit():
    rng = np.random.default_rng(9)
    rows = rng.integers(20, 200, (256, 1)).astype(np.uint8)
    tile = np.repeat(rows, 64, axis=1) + rng.integers(0, 3, (256, 64)).astype(np.uint8)
    assert find_mosaics({"periodic": tile}) == {}
    neighbour = tile.copy()
    neighbour[:, :4] = tile[:, :4] + rng.integers(-6, 7, (256, 4))
    neighbour[:, -4:] = rng.integers(20, 200, (256, 4)).astype(np.uint8)
    assert find_mosaics({"periodic": tile, "neighbour": neighbour}).keys() == {"periodic", "neighbour"}


def test_noise_of_one_level_proves_nothing():
    rng = np.random.default_rng(10)
    assert find_mosaics({f"{i:02d}": rng.normal(30, 3, (128, 128)).astype(np.uint8) for i in range(60)}) == {}


def test_constant_images_prove_nothing():
    assert find_mosaics({name: np.full((64, 64), 7, np.uint8) for name in "abcd"}) == {}


def test_images_of_different_size_are_never_joined():
    picture = draw(np.random.default_rng(7), 128, 256)
    assert find_mosaics({"a": picture[:, :128], "b": picture[:, 128:250]}) == {}


def test_no_images_and_tiny_images_have_no_mosaics():
    assert find_mosaics({}) == {}
    assert find_mosaics({"a": np.zeros((3, 3), np.uint8), "b": np.ones((3, 3), np.uint8)}) == {}


@pytest.fixture(scope="module")
def stage1_train(real_data):
    images = {}
    with zipfile.ZipFile(real_data / "dsb2018" / "stage1_train.zip") as archive:
        for name in archive.namelist():
            if "/images/" in name and name.endswith(".png"):
                image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                images[name.split("/")[0]] = image[..., 0] if not np.ptp(image, axis=2).any() else image
    return images


@pytest.mark.realdata
def test_dsb2018_is_put_together(stage1_train):
    layouts = find_layouts(stage1_train)
    sizes = [len(layout) for layout in layouts]
    assert len(stage1_train) == 664
    assert (len(layouts), sum(sizes), sizes.count(4)) == (140, 537, 88)
    tiles_256 = [layout for layout in layouts if stage1_train[min(layout.values())].shape[:2] == (256, 256)]
    assert {place for layout in tiles_256 for place in layout} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.realdata
@pytest.mark.parametrize("seed", range(5))
def test_dsb2018_with_one_tile_of_each_picture_has_no_mosaics(stage1_train, seed):
    mosaics = find_mosaics(stage1_train)
    of_picture = {}
    for id_ in np.random.default_rng(seed).permutation(sorted(stage1_train)).tolist():
        of_picture[mosaics.get(id_, id_)] = id_
    assert find_mosaics({id_: stage1_train[id_] for id_ in of_picture.values()}) == {}
