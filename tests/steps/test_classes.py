"""Semantic classes from a folder of colour masks to class images, by the same verbs as instances."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kaggle_unet as ku
from kaggle_unet.store import Store
from tests.land import LAND_CLASSES, draw_land, write_land
from tests.steps.conftest import call

NAMES = list(LAND_CLASSES)
CONFIG = f"""
competition:
  name: folder
  ignore: 0
  classes: {json.dumps(LAND_CLASSES)}
codec: {{name: classes}}
weights: {{classes: {{road: 3, building: 3}}}}
input: {{channels: [red, green, blue]}}
folds: {{n: 2, stratify: none}}
model: {{name: plain_unet, filters: 8, depth: 2, norm: batch}}
augmentation: {{preset: light, crop_px: 32, crops_per_image: 4}}
training: {{epochs: 4, batch: 8, optimizer: {{name: adam, learning_rate: 1e-2}}}}
"""


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn land, prepared and trained in two folds."""
    home = tmp_path_factory.mktemp("land")
    write_land(home / "train", 1, 8, shape=(48, 56))
    write_land(home / "test", 2, 3, shape=(40, 64))
    (home / "land.yaml").write_text(CONFIG)
    words = (home / "land.yaml", "--store", home / "store")
    answer = call("make-targets", *words, "--data", home / "train", "--preview", 1)
    assert answer.code == 0, answer.err
    assert "8 samples, 5 classes" in answer.out
    assert "round-trip score: 1.0000" in answer.out
    answer = call("train", *words, "--fold", "all", "--run", home / "run")
    assert answer.code == 0, answer.err
    return home


def test_the_store_knows_classes_and_no_instances(land):
    store = Store.open(land / "store")
    classes = np.concatenate([store.read(id_).labels.ravel() for id_ in store.ids])
    assert store.report["classes"] == {name: int((classes == number).sum()) for number, name in enumerate(NAMES)}
    assert store.report["instances"] == 0
    assert (classes == 255).any()


def test_a_run_is_scored_by_class_and_validation_records_the_means(land):
    result = json.loads(call("score", land / "run", "--json").out)
    *rows, mean = result["per_class"]
    assert [row["class"] for row in rows] == NAMES
    occurring = [row for row in rows if row["true_px"] + row["predicted_px"]]
    for name in ("iou", "dice", "accuracy"):
        assert mean[name] == pytest.approx(np.mean([row[name] for row in occurring]))
    assert result["pixels"]["iou"] == mean["iou"]
    store = Store.open(land / "store")
    known = sum(int((store.read(id_).labels != 255).sum()) for id_ in store.ids)
    assert sum(row["true_px"] for row in rows) == sum(row["predicted_px"] for row in rows) == known
    assert result["pixels"]["accuracy"] > 1 / len(NAMES)
    assert "per_iou" not in result
    history = list(csv.DictReader((land / "run" / "fold0" / "metrics.csv").read_text().splitlines()))
    assert 0 < float(history[-1]["valid_iou"]) <= float(history[-1]["valid_dice"])
    for _ in range(2):  # its own tables it replaces
        shown = call("score", land / "run", "--train", "--table", land / "table.csv").out
    images, classes = (
        list(csv.DictReader((land / f"table{end}.csv").read_text().splitlines())) for end in ("", "_classes")
    )
    assert sorted(row["id"] for row in images) == sorted(store.ids)
    for image in images:
        ious = [float(row["iou"]) for row in classes if row["id"] == image["id"]]
        assert float(image["score"]) == pytest.approx(np.mean(ious), abs=1e-5)
    assert "building" in shown
    assert "trained on" in shown


def test_the_report_shows_every_image_by_class(land):
    assert call("report", land / "run").code == 0
    page = (land / "run" / "report.html").read_text()
    assert all(f"land_00{number}" in page for number in range(8))
    assert all(f'"colour": "#{bytes(colour).hex()}"' in page for colour in LAND_CLASSES.values())
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["layers"] == ["image", *NAMES, "true classes", "predicted classes"]
    total = np.sum([image["confusion"] for image in data["images"]], axis=0)
    *rows, _ = json.loads(call("score", land / "run", "--json").out)["per_class"]
    assert total.sum(axis=1).tolist() == [row["true_px"] for row in rows]
    assert "Mask threshold" not in page
    assert call("report", land / "store").code == 0
    page = (land / "store" / "report.html").read_text()
    assert all(f'"colour": "#{bytes(colour).hex()}"' in page for colour in LAND_CLASSES.values())
    assert '"true classes"' in page
    assert "mean score" not in page


def test_class_images_hold_what_the_csv_and_the_model_say_and_are_masks_again(land, tmp_path):
    words = ("--data", land / "test", "-o", tmp_path / "x.csv", "--labels", tmp_path / "labels")
    answer = call("submit", land / "run", *words)
    assert answer.code == 0, answer.err
    assert f"x.csv: {3 * len(NAMES)} ids, " in answer.out  # not images, of which there are 3
    assert not re.search("images? without", answer.err)
    rles = ku.read_submission(tmp_path / "x.csv", "folder")
    model = ku.load(land / "run")
    assert model.planes == tuple(NAMES)
    for path in sorted((land / "test" / "images").iterdir()):
        ids = np.asarray(Image.open(tmp_path / "labels" / path.name))
        assert (model.segment(np.asarray(Image.open(path))) == ids).all()
        colours = np.asarray(Image.open(tmp_path / "labels" / "colours" / path.name))
        for number, (name, colour) in enumerate(LAND_CLASSES.items()):
            assert ((colours == colour).all(axis=2) == (ids == number)).all()
            assert (ku.rle.decode(rles[f"{path.stem}_{name}"], ids.shape) > 0).tolist() == (ids == number).tolist()
    assert len(rles) == 3 * len(NAMES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", "RUN"), "nothing to tune"),
        (("report", "RUN", "--against", "config"), "--against compares objects"),
        (("second-level", "RUN"), "codec classes has no seeds"),
        (("vote", "RUN", "--csv", "a.csv", "--csv", "b.csv", "--data", "x", "-o", "c.csv"), "vote counts objects"),
        (("segment", "RUN", "x", "-o", "y"), "segment finds objects, and this run knows classes"),
    ],
)
def test_verbs_for_instances_say_so(land, words, message):
    answer = call(*(land / "run" if word == "RUN" else word for word in words))
    assert answer.code == 2
    assert message in answer.err


def test_an_ensemble_of_other_classes_is_refused(land, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("building", "house"))
    answer = call("submit", other, "--checkpoint", land / "run", "--data", land / "test", "-o", tmp_path / "x.csv")
    assert answer.code == 2
    assert "was trained for field, forest, water, road, building, not for" in answer.err


def test_samples_in_memory_have_classes_for_labels(tmp_path):
    samples = [ku.Sample(str(i), *draw_land(np.random.default_rng(i), (32, 48))) for i in range(4)]
    config = {
        "codec": {"name": "classes", "classes": NAMES},
        "input": {"channels": ["red", "green", "blue"]},
        "folds": {"n": 2},
        "model": {"name": "plain_unet", "depth": 2, "filters": 4},
        "training": {"epochs": 1},
    }
    run = ku.train(config, samples, folder=tmp_path)
    store = Store.open(tmp_path / "store")
    assert all((store.read(sample.id).labels == sample.labels).all() for sample in samples)
    assert ku.load(run).segment(samples[0].image).max() < len(NAMES)
    bad = [ku.Sample(sample.id, sample.image, np.full((32, 48), int(sample.id == "0") * 5)) for sample in samples]
    with pytest.raises(ku.DataError, match="1 of 4 samples") as caught:
        ku.train(config, bad, folder=tmp_path / "bad")
    assert "sample '0': labels hold 5; expected the classes 0 field" in caught.value.problems[0]
