"""What a message says to do works: fix, resume, begin anew."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from kaggle_unet.errors import ResourceError
from kaggle_unet.steps import check
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder
from tests.steps.conftest import COMMON, CONFIGS, call


@pytest.fixture
def home(tmp_path):
    """A folder with a config and eight drawn images."""
    config = tmp_path / "configs" / "dsb2018" / "tiny.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIGS["dsb2018"] + COMMON)
    write_dsb_zip(tmp_path / "train.zip", 1, 8, shape=(48, 48))
    return tmp_path


def make_targets(home, *words):
    config = home / "configs/dsb2018/tiny.yaml"
    return call("make-targets", config, "--data", home / "train.zip", "--store", home / "store", *words)


def train(home, fold, *words):
    config = home / "configs/dsb2018/tiny.yaml"
    return call("train", config, "--fold", fold, "--store", home / "store", "--run", home / "run", *words)


def test_a_fixed_zip_is_prepared_into_the_same_store(home):
    good = (home / "train.zip").read_bytes()
    with zipfile.ZipFile(home / "train.zip") as old:
        members = {name: old.read(name) for name in old.namelist()}
    broken = next(name for name in members if "/images/" in name)
    with zipfile.ZipFile(home / "train.zip", "w") as new:
        for name, data in members.items():
            new.writestr(name, data[:50] if name == broken else data)
    assert make_targets(home).code == 3
    (home / "train.zip").write_bytes(good)
    answer = make_targets(home)
    assert (answer.code, "8 samples" in answer.out) == (0, True), answer.err


def test_training_from_a_store_of_another_codec_is_refused(home):
    assert make_targets(home).code == 0
    answer = train(home, "0", "--set", "codec.name=interior_border", "--set", "codec.border.rule=contour")
    assert answer.code == 2
    assert "codec.border.rule, codec.name" in answer.err
    assert not (home / "run").exists()


def test_all_folds_are_resumed_whether_they_had_begun_or_not(home):
    assert make_targets(home).code == 0
    assert train(home, "0").code == 0
    assert train(home, "all", "--resume").code == 0
    assert (home / "run/fold1/best.safetensors").is_file()


def test_a_fold_cut_short_in_its_first_epoch_is_resumed_from_its_beginning(home):
    assert make_targets(home).code == 0
    assert train(home, "0").code == 0
    (home / "run/fold0/last.safetensors").unlink()
    assert train(home, "0", "--resume").code == 0
    with (home / "run/fold0/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_there_must_be_a_run_to_resume(home):
    assert make_targets(home).code == 0
    answer = train(home, "0", "--resume")
    assert (answer.code, "nothing to resume" in answer.err) == (2, True)
    assert not (home / "run").exists()


def test_a_start_that_failed_does_not_stand_in_the_way_of_the_next(home):
    assert make_targets(home).code == 0
    model = "{name: smp, encoder: resnet18, encoder_weights: /nowhere.pth}"
    answer = train(home, "0", "--set", f"model={model}")
    assert answer.code == 3
    assert train(home, "0").code == 0


def test_a_run_keeps_its_folds_and_says_so_when_the_store_gets_others(tmp_path):
    config = tmp_path / "configs" / "folder" / "tiny.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIGS["folder"].replace("name: folder", "name: folder, folds: folds.csv") + COMMON)
    ids = sorted(write_folder(tmp_path / "data", 1, 6, shape=(48, 48)))
    folds = config.parent / "folds.csv"
    folds.write_text("id,fold\n" + "".join(f"{id_},{n % 3}\n" for n, id_ in enumerate(ids)))
    prepare = ["make-targets", config, "--data", tmp_path / "data", "--store", tmp_path / "store"]
    fit = ["train", config, "--store", tmp_path / "store", "--run", tmp_path / "run"]
    assert call(*prepare).code == 0
    assert call(*fit, "--fold", "2").code == 0, "the folds file has three folds, whatever folds.n says"
    before = (tmp_path / "run/folds.csv").read_text()
    folds.write_text("id,fold\n" + "".join(f"{id_},{(n + 1) % 3}\n" for n, id_ in enumerate(ids)))
    assert call(*prepare).code == 0
    answer = call(*fit, "--fold", "2", "--resume")
    assert (answer.code, "keeps its folds" in answer.err) == (0, True)
    assert (tmp_path / "run/folds.csv").read_text() == before
    assert call("score", "--run", tmp_path / "run").code == 0


def test_planes_that_are_being_replaced_are_not_scored(home, monkeypatch):
    assert make_targets(home).code == 0
    assert train(home, "0").code == 0
    monkeypatch.setattr("kaggle_unet.steps.predict.write_planes", lambda *_: 1 / 0)
    config = home / "configs/dsb2018/tiny.yaml"
    words = ("predict", config, "--checkpoint", home / "run/fold0", "--oof", "--store", home / "store")
    assert call(*words).code == 0  # what is asked for is there
    assert call("score", "--run", home / "run").code == 0
    call(*words, "--set", "inference.batch=1")
    answer = call("score", "--run", home / "run")
    assert (answer.code, "predict --oof" in answer.err) == (3, True)


@pytest.mark.parametrize("name", ["result.json", "metrics.csv"])
def test_a_report_of_a_fold_that_did_not_end_says_so(home, name):
    assert make_targets(home).code == 0
    assert train(home, "0").code == 0
    (home / "run/fold0" / name).unlink()
    answer = call("report", home / "run")
    assert (answer.code, "--resume" in answer.err) == (3, True)


def test_damaged_planes_are_named(home):
    assert make_targets(home).code == 0
    assert train(home, "0").code == 0
    path = next((home / "run/fold0/planes").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    answer = call("score", "--run", home / "run")
    assert (answer.code, path.name in answer.err) == (3, True)


@pytest.mark.parametrize("name", ["x.json", "x", "folder.csv"])
def test_a_submission_must_be_a_csv(trained, tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    answer = call("submit", trained.config, "--data", trained.test, *trained.checkpoints, "-o", tmp_path / name)
    assert (answer.code, ".csv" in answer.err) == (2, True)
    assert not (tmp_path / name).is_file()


def test_an_output_that_cannot_be_written_is_refused_before_the_networks_run(trained, tmp_path):
    words = ["submit", trained.config, "--data", tmp_path / "nowhere", "--checkpoint", tmp_path / "none"]
    answer = call(*words, "-o", "/proc/x.csv")
    assert (answer.code, "cannot write /proc/x.csv" in answer.err) == (4, True)
    (tmp_path / "x.json").mkdir()
    answer = call(*words, "-o", tmp_path / "x.csv")
    assert (answer.code, "its manifest will end in .json" in answer.err) == (2, True)
    (trained.home / "moved").mkdir(exist_ok=True)
    answer = call("report", trained.run, "--store", trained.home / "moved", "-o", "/proc/x.html")
    assert (answer.code, "cannot write /proc/x.html" in answer.err) == (4, True)


def test_where_the_manifest_cannot_be_written_no_csv_is_left(trained, tmp_path, monkeypatch):
    def fill(path, _):
        raise ResourceError(f"cannot write {path}: no space")

    monkeypatch.setattr(check, "atomic_write", fill)
    answer = call("submit", trained.config, "--data", trained.test, *trained.checkpoints, "-o", tmp_path / "x.csv")
    assert (answer.code, "x.json: no space" in answer.err, list(tmp_path.iterdir())) == (4, True, [])


def test_the_commands_that_are_named_can_be_pasted(home):
    spaced = home / "a place"
    spaced.mkdir()
    shutil.move(home / "configs", spaced / "configs")
    config = spaced / "configs/dsb2018/tiny.yaml"
    answer = call(
        "make-targets", config, "--data", home / "train.zip", "--store", spaced / "s", "--set", "folds.seed=3"
    )
    line = next(line for line in answer.out.splitlines() if line.startswith("next"))
    assert f"'{config}' --fold 0 --store '{spaced / 's'}' --set folds.seed=3" in line


def test_rows_follow_the_sample_submission(trained, tmp_path):
    if trained.name == "folder":
        ids = sorted(trained.truth)
    else:
        ids = sorted(trained.truth, reverse=True)
        columns = "id,rle_mask" if trained.name == "tgs" else "ImageId,EncodedPixels"
        sample = "sample_submission.csv" if trained.name == "tgs" else "stage1_sample_submission.csv"
        shutil.copy(trained.test, tmp_path / Path(trained.test).name)
        (tmp_path / sample).write_text(f"{columns}\n" + "".join(f"{id_},1 1\n" for id_ in ids))
        if trained.name == "tgs":
            shutil.copy(trained.home / "depths.csv", tmp_path)
    data = trained.test if trained.name == "folder" else tmp_path / Path(trained.test).name
    path = tmp_path / "out.csv"
    answer = call("submit", trained.config, "--data", data, *trained.checkpoints, "-o", path)
    assert answer.code == 0, answer.err
    with path.open() as file:
        assert list(dict.fromkeys(row[0] for row in list(csv.reader(file))[1:])) == ids
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["data"]["name"] == Path(data).name
    result = json.loads((trained.run / "fold0/result.json").read_text())
    assert manifest["checkpoints"][0]["validation_score"] == result["best_score"]
