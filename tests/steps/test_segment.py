"""`segment`: labels equal to those of `submit`, with what a microscopist opens beside them."""

import json
import re
import shutil
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import kaggle_unet as ku
from kaggle_unet.competitions.image_files import ImageFiles
from kaggle_unet.config import load_config
from kaggle_unet.io.tables import read_csv
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps.segment import segment
from kaggle_unet.steps.submit import decode_concurrently
from kaggle_unet.store import lock
from kaggle_unet.synthetic.files import write_folder
from kaggle_unet.types import Shard
from tests.files import tiff, write_zip
from tests.steps.conftest import call

folder_only = pytest.mark.parametrize("trained", ["folder"], indirect=True)


@pytest.fixture
def shown(monkeypatch):
    """How many images networks are shown in each forward pass."""
    sizes, forward = [], PlainUNet.forward

    def watch(network, inputs):
        sizes.append(len(inputs))
        return forward(network, inputs)

    monkeypatch.setattr(PlainUNet, "forward", watch)
    return sizes


@pytest.fixture
def images(tmp_path):
    """A flat folder of four images, one of them smaller."""
    write_folder(tmp_path / "drawn", 2, 4, shape=(48, 56), suffix="tif")
    folder = shutil.move(tmp_path / "drawn" / "images", tmp_path / "images")
    first = tifffile.imread(folder / "nuclei_000.tif")
    (folder / "nuclei_000.tif").write_bytes(
        tiff(first[:40], resolution=(20000, 20000), resolutionunit="CENTIMETER", metadata=None)
    )
    return folder


def contents(folder):
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name not in {".lock", "segment.json"}}


def rows(folder):
    table = read_csv(folder / "measurements.csv")
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_labels_are_those_of_submit_in_every_layout_that_the_run_was_trained_on(trained, tmp_path):
    answer = call("submit", trained.run, "--data", trained.test, "-o", tmp_path / "x.csv", "--labels", tmp_path / "x")
    assert answer.code == 0, answer.err
    answer = call("segment", trained.run, trained.test, "-o", tmp_path / "results")
    assert answer.code == 0, answer.err
    found = sorted((tmp_path / "results" / "labels").iterdir())
    assert [path.stem for path in found] == sorted(trained.truth)
    n_objects = 0
    for path in found:
        labels = tifffile.imread(path)
        np.testing.assert_array_equal(labels, tifffile.imread(tmp_path / "x" / path.name))
        assert labels.dtype == np.uint16
        n_objects += int(labels.max())
        overlay = np.asarray(Image.open(tmp_path / "results" / "overlays" / f"{path.stem}.png"))
        assert overlay.shape == (*labels.shape, 3)
    assert len(rows(tmp_path / "results")) == n_objects
    assert f"images   4; {n_objects} objects" in answer.out
    about = json.loads((tmp_path / "results" / "segment.json").read_text())
    assert [part["name"] for part in about["checkpoints"]] == [f"run/fold{n}/best.safetensors" for n in (0, 1)]
    assert str(tmp_path) not in json.dumps(about)


@folder_only
def test_files_folders_globs_and_zips_are_the_same_images(trained, images, tmp_path):
    (images / "nuclei_000.tif").rename(images / "Zellkern_ä.ome.tif")  # composed; decomposed on other systems
    (images / "nuclei_003.tif").rename(images / "Zellkern_o\u0308.tif")
    files = sorted(images.iterdir())
    zipped = write_zip(tmp_path / "some.zip", {f"deep/{file.name}": file.read_bytes() for file in files})
    twice = shutil.copytree(images, tmp_path / "some[1]")
    for junk in ("._nuclei_001.tif", "Thumbs.db"):
        (twice / junk).write_bytes(b"junk")
    places = {"files": files, "folder": [images], "glob": [images / "*.tif"], "zip": [zipped],
              "mixed": [files[0], images / "*_[0o2]*.tif", images / "Z*e.tif"],
              "marks": [images / "Z*", images / "nuclei_00?.tif"],
              "in brackets": [twice / "*"]}  # fmt: skip
    found = {}
    for name, words in places.items():
        answer = call("segment", trained.run, *words, "-o", tmp_path / name)
        assert answer.code == 0, answer.err
        found[name] = {key: data for key, data in contents(tmp_path / name).items() if ".measurements/" not in key}
    assert len(found["folder"]) == 4 + 4 + 1
    assert all(those == found["folder"] for those in found.values())


@folder_only
def test_measurements_are_of_the_files_own_pixels_in_pixels_and_where_it_says_so_in_micrometres(
    trained, images, tmp_path
):
    assert call("segment", trained.run, images, "-o", tmp_path / "out").code == 0
    model, table = ku.load(trained.run), rows(tmp_path / "out")
    for id_ in ("nuclei_000", "nuclei_001"):
        image = tifffile.imread(images / f"{id_}.tif")
        size = 0.5 if id_ == "nuclei_000" else None
        expected = ku.measure(model.segment(image), image, pixel_size=size)
        of_image = [row for row in table if row["image"] == id_]
        for column in expected:
            assert [float(row[column]) for row in of_image] == pytest.approx(expected[column].tolist(), rel=1e-5)
        assert all((row["area_um2"] == "") == (size is None) for row in of_image)
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "nuclei_000.tif") as file:
        assert file.pages.first.tags[282].value == (20000, 1)
    assert call("segment", trained.run, images, "-o", tmp_path / "given", "--pixel-size", 2).code == 0
    assert all(float(row["area_um2"]) == 4 * int(row["area_px"]) for row in rows(tmp_path / "given"))


@folder_only
def test_a_report_shows_all_images_whichever_call_has_segmented_them(trained, images, tmp_path):
    words = ("segment", trained.run, "-o", tmp_path / "out", "--report")
    assert call(*words, images / "nuclei_001.tif").code == 0
    answer = call(*words, images)
    assert answer.code == 0, answer.err
    assert f"report   {tmp_path / 'out' / 'report.html'}" in answer.out
    page = (tmp_path / "out" / "report.html").read_text()
    found = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["images"]
    assert [image["id"] for image in found] == sorted(path.stem for path in images.iterdir())
    for image in found:
        areas = np.bincount(tifffile.imread(tmp_path / "out" / "labels" / f"{image['id']}.tif").ravel())[1:]
        assert sorted(image["areas"]["pred"]) == sorted(areas[areas > 0].tolist())


@folder_only
def test_a_second_call_does_what_is_missing_and_what_has_changed(trained, images, tmp_path, shown):
    def run(*words):
        shown.clear()
        answer = call("segment", trained.run, images, "-o", tmp_path / "out", "--set", "inference.batch=1", *words)
        assert answer.code == 0, answer.err
        assert ("warning 1 × other files (.txt): not read" in answer.err) == (images / "notes.txt").exists()
        return sum(shown), answer.out

    last = shutil.move(images / "nuclei_003.tif", tmp_path / "later.tif")
    n_three, _ = run()
    first = contents(tmp_path / "out")
    assert run() == (0, run()[1])
    shutil.move(last, images / "nuclei_003.tif")
    (images / "notes.txt").write_text("what lies among the images")
    n_one, out = run()
    assert n_one == n_three // 3
    assert "images   4, 3 of them done before" in out
    whole = contents(tmp_path / "out")
    assert {name: whole[name] for name in first if name != "measurements.csv"} == {
        name: data for name, data in first.items() if name != "measurements.csv"
    }
    (tmp_path / "out" / "overlays" / "nuclei_001.png").unlink()
    assert run()[0] == n_one
    (images / "nuclei_002.tif").write_bytes(tiff(tifffile.imread(images / "nuclei_002.tif")[::-1].copy()))
    assert run()[0] == n_one
    assert run("--format", "geojson", "--format", "imagej")[0] == 0  # the labels are there
    converted = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert run("--format", "geojson", "--format", "imagej")[0] == 4 * n_one
    assert contents(tmp_path / "out") == converted
    (images / "nuclei_002.tif").write_bytes(tiff(tifffile.imread(images / "nuclei_002.tif")[::-1].copy()))
    run()
    assert sorted(file.stem for file in (tmp_path / "out" / "geojson").iterdir()) == [
        f"nuclei_00{i}" for i in (0, 1, 3)
    ]


@folder_only
def test_an_interrupted_call_leaves_whole_images_and_the_next_gives_the_same_bytes(trained, images, tmp_path):
    config = load_config(trained.run / "config.yaml", ["inference.batch=1"])
    formats = ["coco", "geojson", "imagej", "ome-tiff", "png"]

    def run(folder, on_progress=lambda *_: None):
        return segment(config, [trained.run], [str(images)], folder, formats=formats, on_progress=on_progress)

    def stop(_what, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop)
    assert not (tmp_path / "cut" / "measurements.csv").exists()
    assert run(tmp_path / "cut").done_before == 2
    assert [len(list((tmp_path / "cut" / place).iterdir())) for place in ("labels", "overlays", *formats)] == [4] * 7
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@folder_only
def test_results_of_other_networks_or_settings_are_never_mixed(trained, images, tmp_path):
    assert call("segment", trained.run, images, "-o", tmp_path / "out").code == 0
    before = contents(tmp_path / "out")
    for words, key in (
        (("--checkpoint", trained.run / "fold0"), "checkpoints"),
        (("--set", "postprocess.min_area_px=99"), "postprocess.min_area_px"),
        (("--pixel-size", 2), "pixel_size"),
        (("--set", "competition.channel=0"), "channel"),
    ):
        answer = call("segment", trained.run, images, "-o", tmp_path / "out", *words)
        assert answer.code == 2
        assert f"({key} differ); give another -o" in answer.err.replace("\n", " ")
    assert contents(tmp_path / "out") == before


@folder_only
def test_a_call_that_fails_before_its_first_result_claims_no_folder(trained, images, tmp_path, monkeypatch):
    words = ("segment", trained.run, images, "-o", tmp_path / "out")
    answer = call(*words, "--pixel-size", -1)
    assert (answer.code, "the pixel size is -1.0" in answer.err, (tmp_path / "out").exists()) == (2, True, False)
    with monkeypatch.context() as patched:
        patched.setattr("kaggle_unet.steps.segment.decode_concurrently", lambda *_: 1 / 0)
        assert call(*words, "--pixel-size", 2, "--shard", "1/2").code == 1
    with lock(tmp_path / "out", shard=Shard(1, 2)) as held:  # another shard is at work for its first result
        held.release_to_shards()
        answer = call(*words, "--pixel-size", 3, "--shard", "2/2")
        assert (answer.code, "(pixel_size differ)" in answer.err) == (2, True)
    assert call(*words, "--pixel-size", 3).code == 0


@folder_only
def test_a_folder_with_labels_of_someone_else_is_left_alone(trained, images, tmp_path):
    (tmp_path / "mine" / "labels").mkdir(parents=True)
    answer = call("segment", trained.run, images, "-o", tmp_path / "mine")
    assert answer.code == 2
    assert "give another output" in answer.err
    assert not list((tmp_path / "mine" / "labels").iterdir())
    for name in ("report.html", "set_aside.csv", "segment.json"):
        (tmp_path / name[:3]).mkdir()
        (tmp_path / name[:3] / name).write_text("mine")
        assert call("segment", trained.run, images, "-o", tmp_path / name[:3]).code in {2, 3}
        assert (tmp_path / name[:3] / name).read_text() == "mine"
    shutil.move(images, tmp_path / "own" / "png")
    before = contents(tmp_path / "own")
    answer = call("segment", trained.run, tmp_path / "own" / "png", "-o", tmp_path / "own")
    assert (answer.code, f"{tmp_path / 'own' / 'png'} is there" in answer.err.replace("\n", "")) == (2, True)
    assert contents(tmp_path / "own") == before


@folder_only
def test_results_do_not_lie_among_the_images_of_a_folder(trained, images, tmp_path):
    before = contents(images)
    for folder in (images, images / "results"):
        answer = call("segment", trained.run, images, "-o", folder)
        assert (answer.code, "another -o" in answer.err.replace("\n", " ")) == (2, True)
    assert contents(images) == before
    for _ in range(2):  # named one by one, they are all that is read
        assert call("segment", trained.run, images / "*.tif", "-o", images / "results").code == 0


@folder_only
def test_an_image_that_is_named_twice_is_segmented_once(trained, images, tmp_path):
    (tmp_path / "link").symlink_to(images)
    zipped = write_zip(tmp_path / "x.zip", {"other.tif": (images / "nuclei_000.tif").read_bytes()})
    twice = (images / "nuclei_000.tif", images, tmp_path / "link", zipped, zipped)
    answer = call("segment", trained.run, *twice, "-o", tmp_path / "out", "--json")
    assert (answer.code, json.loads(answer.out or "{}").get("images")) == (0, 5), answer.err


@folder_only
def test_images_of_one_name_and_unreadable_ones_are_all_named(trained, images, tmp_path):
    (images / "nuclei_001.png").write_bytes((images / "nuclei_001.tif").read_bytes())
    answer = call("segment", trained.run, *images.iterdir(), "-o", tmp_path / "out")
    assert answer.code == 3
    assert "nuclei_001.png" in answer.err
    (images / "nuclei_001.png").unlink()
    (tmp_path / "nuclei_002.tif").write_bytes((images / "nuclei_002.tif").read_bytes())
    answer = call("segment", trained.run, images, tmp_path / "nuclei_002.tif", "-o", tmp_path / "out")
    assert answer.code == 3
    assert f"nuclei_002: {images}" in answer.err.replace("\n", "")
    for name in ("nuclei_000", "nuclei_003"):
        (images / f"{name}.tif").write_bytes(b"text")
    answer = call("segment", trained.run, images, "-o", tmp_path / "out")
    assert answer.code == 3
    assert "2 of 4 images can't be read" in answer.err
    assert "nuclei_000.tif" in answer.err
    assert "nuclei_003.tif" in answer.err
    assert not (tmp_path / "out").exists()
    answer = call("segment", trained.run, images / "*.gif", "-o", tmp_path / "out")
    assert answer.code == 3
    assert call("segment", trained.run, images, "-o", tmp_path / "out", "--format", "docx").code == 2


@folder_only
def test_memory_does_not_grow_with_the_number_of_images(trained, tmp_path, monkeypatch):
    loaded = []

    def load(images, id_, load=ImageFiles.load):
        sample = load(images, id_)
        loaded.append(weakref.ref(sample))
        return sample

    monkeypatch.setattr(ImageFiles, "load", load)  # and one image at a time goes through network and decoder
    monkeypatch.setattr(
        "kaggle_unet.steps.segment.decode_concurrently", partial(decode_concurrently, most_pending_px=0)
    )
    places = [str(tmp_path / f"{number:02d}.tif") for number in range(20)]
    for place in places:
        Path(place).write_bytes(tiff(np.zeros((32, 32), np.uint8)))
    config, alive = load_config(trained.run / "config.yaml", ["inference.batch=1", "inference.flips=none"]), []

    def count(*_):
        alive.append(sum(sample() is not None for sample in loaded))

    segment(config, [trained.run / "fold0"], places, tmp_path / "out", on_progress=count)
    assert len(alive) == 20
    assert max(alive) <= 4


@folder_only
def test_images_that_cannot_be_read_are_set_aside_with_the_reason(trained, images, tmp_path):
    (images / "broken.tif").write_bytes((images / "nuclei_001.tif").read_bytes()[:900])
    (images / "empty.png").write_bytes(b"")
    words = ("segment", trained.run, images, "-o", tmp_path / "x")
    assert call(*words).code == 3
    assert call(*words, "--skip-bad", "--shard", "1/2").code == 0
    answer = call(*words, "--skip-bad")
    assert answer.code == 0
    assert "set aside: " in answer.err
    assert "images   4, " in answer.out
    table = read_csv(tmp_path / "x" / "set_aside.csv")
    assert [row[0] for row in table.rows] == ["broken", "empty"]
    assert "empty.png is empty" in table.rows[1][1]
    assert len(list((tmp_path / "x" / "labels").iterdir())) == 4
    (images / "broken.tif").unlink()
    (images / "empty.png").unlink()
    assert call(*words, "--format", "png").code == 0
    assert not (tmp_path / "x" / "set_aside.csv").exists()
    (images / "nuclei_001.tif").write_bytes((images / "nuclei_001.tif").read_bytes()[:900])
    (images / "nuclei_002.tif").unlink()
    (images / "nuclei_002.tif").symlink_to("nowhere")
    (images / "nuclei_003.tif").rename(images / "nuclei_003.jp2")
    answer = call(*words, "--skip-bad")
    assert (answer.code, "nuclei_003.jp2 is not read" in answer.err.replace("\n", "")) == (0, True), answer.err
    kept = {"nuclei_000", "nuclei_003"}  # 3 has not changed
    assert {row["image"] for row in rows(tmp_path / "x")} == kept
    for folder in ("labels", "overlays", "png"):
        assert {path.stem for path in (tmp_path / "x" / folder).iterdir()} == kept
