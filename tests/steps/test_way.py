"""Every verb, end to end, on drawn competitions of a few small images."""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import tifffile

from kaggle_unet.competitions.submission import read_submission
from kaggle_unet.config import load_config
from kaggle_unet.masks.rle import decode
from kaggle_unet.store import Store, write_record
from kaggle_unet.targets.codecs import get_codec
from tests.steps.conftest import Trained, call


@pytest.fixture(scope="module")
def submitted(trained: Trained):
    """A submission of both folds."""
    path = trained.home / "out" / "first.csv"
    answer = call("submit", trained.config, "--data", trained.test, *trained.checkpoints, "-o", path,
                  "--labels", trained.home / "labels")  # fmt: skip
    assert answer.code == 0, answer.err
    return path


def test_make_targets_reports_previews_and_names_the_next_command(trained):
    assert json.loads((trained.store / "report.json").read_text())["samples"] == 8
    assert len(list((trained.store / "preview").glob("*.png"))) == 2
    answer = call("make-targets", trained.config, "--data", trained.train, "--store", trained.store)
    assert answer.code == 0
    assert "8 samples" in answer.out
    assert "round-trip score: 1.0000" in answer.out or trained.name != "tgs"
    assert json.loads((trained.store / "report.json").read_text())["ceiling"] > 0.9
    assert f"kaggle-unet train {shlex.quote(str(trained.config))} --fold 0" in answer.out


def test_training_leaves_all_that_is_needed_to_repeat_and_to_look_at(trained):
    for name in ("config.yaml", "run.json", "folds.csv"):
        assert (trained.run / name).is_file()
    for name in (
        "best.safetensors",
        "best.safetensors.sha256",
        "last.safetensors",
        "metrics.csv",
        "curves.png",
        "result.json",
    ):
        assert (trained.run / "fold1" / name).is_file()
    with (trained.run / "fold0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]


def test_a_submission_keeps_every_rule_and_says_where_it_comes_from(trained, submitted):
    answer = call("check", submitted, "--data", trained.test, "--competition", trained.name)
    assert answer.code == 0, answer.err
    assert " follows every rule and covers all " in answer.out + answer.err
    manifest = json.loads(submitted.with_suffix(".json").read_text())
    assert [part["name"] for part in manifest["checkpoints"]] == [
        "run/fold0/best.safetensors",
        "run/fold1/best.safetensors",
    ]
    assert manifest["images"] == 4
    assert str(trained.home) not in submitted.with_suffix(".json").read_text()


def test_label_images_hold_what_the_csv_holds(trained, submitted):
    rles = read_submission(submitted, trained.name)
    for id_, labels in trained.truth.items():
        written = tifffile.imread(trained.home / "labels" / f"{id_}.tif")
        decoded = decode([rle for rle in rles[id_] if rle], labels.shape)
        np.testing.assert_array_equal(written, decoded)


def test_the_same_command_writes_the_same_bytes(trained, submitted):
    again = trained.home / "again.csv"
    call("submit", trained.config, "--data", trained.test, *trained.checkpoints, "-o", again)
    assert again.read_bytes() == submitted.read_bytes()


def test_the_order_of_rows_is_that_of_the_images(trained, submitted):
    with submitted.open() as file:
        ids = list(dict.fromkeys(row[0] for row in list(csv.reader(file))[1:]))
    assert ids == sorted(trained.truth)


def test_a_run_is_scored_on_all_its_samples_and_on_each_fold(trained):
    answer = call("score", "--run", trained.run, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["images"] == 8
    folds = result["parts"]["fold"]
    assert result["score"] == pytest.approx(np.mean([fold["score"] for fold in folds.values()]))
    for fold in (0, 1):
        written = json.loads((trained.run / f"fold{fold}" / "result.json").read_text())
        assert folds[str(fold)]["score"] == pytest.approx(written["oof_score"])
        assert folds[str(fold)]["interval"] == pytest.approx(written["oof_interval"])
    assert result["decoding"] == "config"
    background, objects, mean = result["per_class"]
    assert result["pixels"]["iou"] == objects["iou"] == pytest.approx(2 * mean["iou"] - background["iou"])
    store = Store.open(trained.store)
    assert objects["true_px"] == sum((store.read(id_).labels > 0).sum() for id_ in store.ids)
    all_ = result["per_area"][-1]
    assert all_["found"] + all_["merged"] + all_["split"] + all_["missed"] == all_["objects"]
    assert [row["mended"] for row in result["mended"]] == ["outlines", "merged", "split", "missed", "extra"]
    assert all(0 <= row["gain"] == pytest.approx(row["score"] - result["score"]) for row in result["mended"])
    if trained.name == "tgs":  # all salt of a tile is one object
        assert all_["objects"] == sum(store.read(id_).labels.any() for id_ in store.ids)


def test_images_that_a_fold_was_trained_on_are_predicted_by_it_and_shown_beside_the_others(trained):
    answer = call("score", trained.run, "--train", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["trained_on"]
    assert {name: part["images"] for name, part in found["parts"]["fold"].items()} == {"0": 4, "1": 4}
    fold = trained.home / "one fold"
    shutil.copytree(trained.run, fold)
    shutil.rmtree(fold / "fold1")
    ids = [row["id"] for row in csv.DictReader((fold / "folds.csv").read_text().splitlines()) if row["fold"] != "0"]
    alone = json.loads(call("score", fold, "--train", "--json").out)["trained_on"]
    assert sorted(alone["per_image"]) == sorted(ids)
    assert alone["score"] == pytest.approx(found["parts"]["fold"]["0"]["score"])
    assert call("report", fold, "--train").code == 0
    assert f"<dd>{alone['score']:.4f} (" in (fold / "report.html").read_text()
    assert call("score", "x.csv", "--truth", trained.train, "--competition", trained.name, "--train").code == 2


def test_predicting_out_of_fold_again_gives_the_same_planes(trained):
    folder = trained.run / "fold0" / "planes"
    before = {path.name: path.read_bytes() for path in folder.glob("*.npz")}
    assert before
    shutil.rmtree(folder)
    answer = call("predict", trained.config, "--checkpoint", trained.run / "fold0", "--oof", "--store", trained.store)
    assert answer.code == 0, answer.err
    assert {path.name: path.read_bytes() for path in folder.glob("*.npz")} == before


def test_planes_of_any_images_go_where_one_says(trained):
    folder = trained.home / "planes"
    answer = call("predict", trained.config, *trained.checkpoints, "--data", trained.test, "--planes", folder)
    assert answer.code == 0, answer.err
    for id_, labels in trained.truth.items():
        planes = np.load(folder / f"{id_}.npz")["planes"]
        assert planes.shape[1:] == labels.shape
        assert 0 <= planes.min() <= planes.max() <= 1


def test_the_report_shows_every_validation_sample(trained):
    answer = call("report", trained.run)
    assert answer.code == 0, answer.err
    page = (trained.run / "report.html").read_text()
    with (trained.run / "folds.csv").open() as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == 8
    assert all(id_ in page for id_ in ids)
    assert "http://" not in page
    assert all(f"<td>{value / 20:.2f}</td>" in page for value in range(1, 20))  # the mask thresholds


def read_data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_a_store_is_shown_with_the_targets_and_weights_of_all_its_sets(trained):
    store = trained.home / "shown store"
    words = ("make-targets", trained.config, "--data", trained.train, "--store", store)
    assert call(*words).code == 0
    answer = call("report", store)
    assert answer.code == 0, answer.err
    assert f"report   {store / 'report.html'}" in answer.out
    data = read_data(store / "report.html")
    config = load_config(trained.config)
    maps = [name for name in ("distance", "size") if getattr(config.weights, name)]
    assert data["planes"] == list(get_codec(config.codec).planes)
    assert data["weights"] == ["weights", *maps]
    assert [image["id"] for image in data["images"]] == list(Store.open(store).ids)
    assert {image["fold"] for image in data["images"]} == {"0", "1"}
    assert (
        call(*words, "--set", "weights.cap=3").code == call("report", store, "-o", trained.home / "two.html").code == 0
    )
    data = read_data(trained.home / "two.html")
    assert len(data["planes"]) == 2 * len(get_codec(config.codec).planes)
    assert "takes -o alone" in call("report", store, "--train").err


def test_a_submission_is_shown_on_its_images_beside_the_truth_if_there_is_any(trained):
    csv_file, page = trained.home / "shown.csv", trained.home / "shown.html"
    assert call("submit", trained.run, "--data", trained.train, "-o", csv_file).code == 0
    words = ("report", "--csv", csv_file, "--competition", trained.name, "-o", page)
    answer = call(*words, "--data", trained.train)
    assert answer.code == 0, answer.err
    assert "mean score" in page.read_text()
    header, *rows = csv_file.read_text().splitlines(keepends=True)
    id_ = rows[0].partition(",")[0]
    csv_file.write_text("".join([header, *(row for row in rows if not row.startswith(id_))]))
    answer = call(*words, "--data", trained.train)
    assert answer.code == 3
    assert "1 of the 8 images" in answer.err
    if trained.name == "dsb2018":  # of both sets it is that of the CSV
        data, csv_file = trained.home / "both", trained.home / "of test.csv"
        data.mkdir()
        for name, given in (("stage1_train", trained.train), ("stage1_test", trained.test)):
            shutil.copy(given, data / f"{name}.zip")
        assert call("submit", trained.run, "--data", data, "-o", csv_file).code == 0
        answer = call("report", "--csv", csv_file, "--competition", trained.name, "-o", page, "--data", data)
        assert answer.code == 0, answer.err
    assert call(*words).code == call("report").code == call("report", trained.run, "--csv", csv_file).code == 2


def test_a_run_is_compared_with_another_on_the_images_of_both(trained):
    other, page = trained.home / "other", trained.home / "compared.html"
    shutil.copytree(trained.run, other)
    shutil.rmtree(other / "fold1")
    for against, images in ((other, 4), ("config", 8)):
        answer = call("report", trained.run, "--against", against, "-o", page)
        assert answer.code == 0, answer.err
        text = page.read_text()
        assert f"score minus that of {against}" in text
        assert f"on resampled images), {images} images" in text
    assert "+0.0000 (+0.0000 to +0.0000 on resampled images)" in text
    record = json.loads((other / "run.json").read_text())
    write_record(other / "run.json", record | {"data": "other"})
    answer = call("report", trained.run, "--against", other, "-o", page)
    assert (answer.code, "was trained on other data" in answer.err) == (3, True)
    write_record(other / "run.json", record)
    shutil.rmtree(other / "fold0" / "planes")
    assert "no fold has out-of-fold planes" in call("report", trained.run, "--against", other, "-o", page).err


def test_a_submission_is_scored_against_a_folder_or_zip_with_masks(trained):
    path = trained.home / "of training.csv"
    answer = call("submit", trained.config, "--data", trained.train, *trained.checkpoints, "-o", path)
    assert answer.code == 0, answer.err
    answer = call("score", path, "--truth", trained.train, "--competition", trained.name, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["images"] == 8
    kinds = result["parts"]["kind"]  # the images lie beside the masks
    assert sum(kind["images"] for kind in kinds.values()) == 8
    store = Store.open(trained.store)
    assert set(kinds) == {store.read(id_).kind for id_ in store.ids}


def test_help_names_every_verb():
    answer = call("--help")
    assert answer.code == 0
    for verb in ("demo", "make-targets", "train", "predict", "submit", "vote", "check", "score", "report", "doctor"):
        assert verb in answer.out


def test_doctor_says_what_training_would_compute_in():
    answer = call("doctor", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert "torch" in found["packages"]
    assert found["verdict"].startswith("ready")
