"""`init`: a config for one's own images that trains, whatever their layout, each choice with its reason."""

import shlex
import shutil

import numpy as np
import pytest

from kaggle_unet.config import load_config, plain
from kaggle_unet.errors import DataError
from kaggle_unet.steps.init import write_config
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder
from tests.files import png, tiff, write_zip
from tests.files import write_folder as write_files
from tests.steps.conftest import call


def discs(diameter_px, side_px=256, gap_px=4):
    """Draw discs in rows and columns."""
    y, x = np.mgrid[:side_px, :side_px]
    pitch = diameter_px + gap_px
    n = side_px // pitch
    inside = (y % pitch - diameter_px / 2) ** 2 + (x % pitch - diameter_px / 2) ** 2 < diameter_px**2 / 4
    ids = (y // pitch) * n + x // pitch + 1
    return np.where(inside & (y // pitch < n) & (x // pitch < n), ids, 0).astype(np.uint16)


def init(tmp_path, labels, images=None, n=4):
    """Write a folder of equal images, and the config for it."""
    pixels = np.where(labels > 0, 200, 20).astype(np.uint8) if images is None else images
    files = {f"{place}/{i}.png": png(a) for i in range(n) for place, a in (("images", pixels), ("masks", labels))}
    write_files(tmp_path / "cells", files)
    path, found = write_config(tmp_path / "made", str(tmp_path / "cells"))
    return load_config(path), path.read_text(), found


def test_a_newcomer_goes_from_images_to_measurements_in_four_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "cells", 1, 6, shape=(64, 64), suffix="tif")
    tiny = ["--set", "training.epochs=2", "--set", "augmentation.crops_per_epoch=8", "--set", "model.filters=4"]
    answer = call("init", "mine", "--data", "cells")
    assert answer.code == 0, answer.err
    assert "found    6 images (gray-dark: 6); objects about " in answer.out
    for verb in ("make-targets", "train"):
        proposed = shlex.split(answer.out.rpartition("kaggle-unet ")[2])
        assert proposed[0] == verb
        answer = call(*proposed, *tiny)
        assert answer.code == 0, answer.err
    assert "2 steps in all; a network learns little in under 300: set augmentation.crops_per_epoch" in answer.err
    proposed = shlex.split(answer.out.rpartition("kaggle-unet ")[2])
    assert proposed == ["segment", "runs/mine", "IMAGES", "-o", "results/mine"]
    answer = call(*("cells/images" if word == "IMAGES" else word for word in proposed))
    assert answer.code == 0, answer.err
    assert (tmp_path / "results/mine/measurements.csv").is_file()


def test_the_starter_config_is_what_25_images_of_nuclei_get(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    labels = discs(26)
    labels[:, 20:22] = labels[:, 24:25]  # some touch
    config, text, _ = init(tmp_path, labels, n=25)
    starter = load_config(repository / "configs/folder/starter.yaml")
    made, wanted = plain(config), plain(starter)
    for tree in (made, wanted):  # which depend on the sizes within one image
        del tree["postprocess"], tree["augmentation"]["scale"]
    assert made == wanted
    chosen = ("  border:", "  crop_px:", "  crops_per_epoch:", "  scale:", "  epochs:", "  min_area_px:")
    assert all("  # " in line for line in text.splitlines() if line.startswith(chosen))


@pytest.mark.parametrize(
    ("diameter_px", "unshuffle", "crop_px"), [(6, 1, 96), (26, 1, 128), (60, 1, 192), (100, 2, 384), (200, 4, 768)]
)
def test_crops_hold_some_objects_and_large_ones_are_seen_at_a_lower_resolution(
    tmp_path, diameter_px, unshuffle, crop_px
):
    config, _, found = init(tmp_path, discs(diameter_px, side_px=1024), n=2)
    assert f"objects about {diameter_px} px across" in found
    assert config.model.unshuffle == unshuffle
    assert config.augmentation.crop_px == crop_px
    at_network = config.training.batch * (crop_px / unshuffle) ** 2
    assert at_network == pytest.approx(8 * 128**2, rel=0.2)


def test_crops_are_no_larger_than_images(tmp_path):
    config, _, _ = init(tmp_path, discs(30, side_px=64))
    assert config.augmentation.crop_px == 64


@pytest.mark.parametrize(("n", "cores", "n_steps"), [(5, 8, 1600), (50, 8, 3200), (50, 1, 1600), (1000, 64, 6400)])
def test_steps_grow_with_images_and_cores_and_never_shrink_with_the_data(tmp_path, monkeypatch, n, cores, n_steps):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    config, text, _ = init(tmp_path, discs(20, side_px=48), n=n)
    steps = config.training.epochs * config.augmentation.crops_per_epoch / config.training.batch
    assert steps == n_steps
    assert f"{n_steps} steps in all" in text


def test_bright_and_dark_images_are_made_alike_and_colours_kept_where_all_have_them(tmp_path):
    labels = discs(20, side_px=64)
    dark, colour = np.where(labels > 0, 200, 20).astype(np.uint8), np.stack([labels % 251] * 3, 2).astype(np.uint8)
    colour[..., 1] = 90
    files = {f"{place}/{name}.png": png(pixels) for name, image in (("a", dark), ("b", 255 - dark), ("c", colour))
             for place, pixels in (("images", image), ("masks", labels))}  # fmt: skip
    mixed, _ = write_config(tmp_path / "mixed", write_files(tmp_path / "cells", files))
    config = load_config(mixed)
    assert config.input.channels == ("gray",)
    assert config.input.invert_bright
    config, _, _ = init(tmp_path / "only", labels, colour)
    assert config.input.channels == ("red", "green", "blue")
    assert not config.input.invert_bright
    files = {
        f"{place}/{i}.tif": tiff(pixels, **options)
        for i in range(2)
        for place, pixels, options in (
            ("images", np.stack([dark] * 2), {"metadata": {"axes": "CYX"}, "imagej": True}),
            ("masks", labels, {}),
        )
    }
    path, found = write_config(tmp_path / "two", write_files(tmp_path / "channels", files))
    assert load_config(path).input.channels == ("channel0", "channel1")
    assert found.startswith("2 images (2 channels: 2)")


def test_other_names_of_folders_and_the_layout_of_dsb2018_are_found(tmp_path):
    labels = discs(20, side_px=64)
    files = {f"{place}/{i}.png": png(labels.astype(np.uint8)) for i in "ab" for place in ("set/Raw", "set/labels")}
    path, _ = write_config(tmp_path / "zip", write_zip(tmp_path / "x.zip", files))
    assert load_config(path).competition.images == "Raw"
    shutil.move(write_files(tmp_path / "y", files), tmp_path / "z")
    (tmp_path / "z/set/labels").rename(tmp_path / "z/set/nuclei of mine")
    answer = call(
        "init",
        tmp_path / "named",
        "--data",
        tmp_path / "z",
        "--set",
        "competition.masks=nuclei of mine",
        "--set",
        "competition.masks_are=binary",
    )
    assert answer.code == 0, answer.err
    competition = load_config(tmp_path / "named/config.yaml").competition
    assert (competition.images, competition.masks, competition.masks_are) == ("Raw", "nuclei of mine", "binary")
    write_dsb_zip(tmp_path / "dsb.zip", 1, 3)
    path, _ = write_config(tmp_path / "dsb", str(tmp_path / "dsb.zip"))
    assert load_config(path).competition.name == "dsb2018"


@pytest.mark.parametrize("masks", ["masks", "Masks", "MASKS"])
@pytest.mark.parametrize("images", ["images", "Images", "IMAGES"])
def test_folders_may_be_written_in_capitals(tmp_path, images, masks):
    pixels, labels = png(discs(20, side_px=64).astype(np.uint8)), png(discs(20, side_px=64).astype(np.uint8))
    files = {f"{folder}/{i}.png": file for folder, file in ((images, pixels), (masks, labels)) for i in "ab"}
    write_files(tmp_path / "x", {**files, **({"old/Masks/a.png": labels} if masks == "masks" else {})})
    path, _ = write_config(tmp_path / "made", str(tmp_path / "x"))
    answer = call("make-targets", path, "--data", tmp_path / "x", "--store", tmp_path / "store")
    assert answer.code == 0, answer.err


def test_what_gives_no_config_is_refused_and_a_config_is_never_overwritten(tmp_path):
    empty = {f"{place}/{i}.png": png(np.zeros((32, 32), np.uint8)) for place in ("images", "masks") for i in "ab"}
    answer = call("init", tmp_path / "made", "--data", write_files(tmp_path / "empty", empty))
    assert answer.code == 3
    assert "has an object, so there is nothing to learn" in answer.err
    unequal = {"images/a.png": png(np.zeros((32, 32), np.uint8)), "masks/a.png": png(discs(20, side_px=64))}
    answer = call("init", tmp_path / "made", "--data", write_files(tmp_path / "unequal", unequal))
    assert answer.code == 3
    assert "1 of 1 samples are faulty" in answer.err
    assert not (tmp_path / "made").exists()
    for words, cure in (
        ("masks_are=classes", "take configs/classes/quick.yaml"),
        ("mask=x", "did you mean competition.masks"),
    ):
        answer = call("init", tmp_path / "made", "--data", tmp_path / "unequal", "--set", f"competition.{words}")
        assert answer.code == 2
        assert cure in answer.err
    answer = call("init", tmp_path / "made", "--data", tmp_path / "unequal", "--set", "training.epochs=3")
    assert answer.code == 2
    assert "edit the config" in answer.err
    sound = {f"{place}/{i}.png": png(discs(20, side_px=64)) for place in ("images", "masks") for i in "bc"}
    write_files(tmp_path / "unequal", sound)
    answer = call("init", tmp_path / "skipped", "--data", tmp_path / "unequal", "--skip-bad")
    assert answer.code == 0, answer.err
    assert answer.out.rstrip().endswith("--skip-bad")
    init(tmp_path, discs(20))
    before = (tmp_path / "made/config.yaml").read_bytes()
    answer = call("init", tmp_path / "made", "--data", tmp_path / "cells")
    assert answer.code == 2
    assert "config.yaml is there already" in answer.err
    assert (tmp_path / "made/config.yaml").read_bytes() == before


def test_channels_are_those_that_all_files_have(tmp_path):
    labels = discs(20, side_px=64)
    for counts, wanted in (
        ((2, 1), ("channel0",)),
        ((2, 3), ("channel0", "channel1")),
        ((1, 2, 3), ("channel0",)),
        ((1, 3), ("gray",)),
    ):
        name = "_".join(map(str, counts))
        files = {f"masks/{i}.tif": tiff(labels) for i in range(len(counts))}
        for i, n in enumerate(counts):
            image = np.stack([labels.astype(np.uint8) % 200 + channel for channel in range(n)])
            image = image[0] if n == 1 else np.moveaxis(image, 0, 2) if n == 3 else image
            options = {"metadata": {"axes": "CYX"}, "imagej": True} if n == 2 else {}
            files[f"images/{i}.tif"] = tiff(image, **options)
        data = write_files(tmp_path / name, files)
        path, _ = write_config(tmp_path / "made" / name, data)
        assert load_config(path).input.channels == wanted
        answer = call("make-targets", path, "--data", data, "--store", tmp_path / "store" / name)
        assert answer.code == 0, answer.err


@pytest.mark.parametrize("diameter_px", [3, 4, 5, 6])
def test_targets_of_small_objects_can_be_made_with_the_config_for_them(tmp_path, diameter_px):
    config, _, _ = init(tmp_path, discs(diameter_px, side_px=64, gap_px=0))
    assert config.decode.min_seed_px <= config.postprocess.min_area_px
    words = ("--data", tmp_path / "cells", "--store", tmp_path / "store")
    answer = call("make-targets", tmp_path / "made" / "config.yaml", *words)
    assert answer.code == 0, answer.err


def test_a_single_image_is_too_few(tmp_path):
    with pytest.raises(DataError, match="1 image with masks: expected at least 2"):
        init(tmp_path, discs(20, side_px=64), n=1)
