"""A run's folder stands for its config, its checkpoints and its decode parameters, whatever verb is given it."""

import json
import shutil

import pytest
import yaml

from kaggle_unet.config import Config, parse_config
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.steps.run import (
    check_decode_params,
    choose_decode_params,
    describe_run,
    find_checkpoints,
    open_experiment,
)
from tests.steps.conftest import call

NAME = "best.safetensors"
MASK, MASK_BORDER = (Config(competition={"name": "dsb2018"}, codec={"name": name}) for name in ("mask", "mask_border"))


def make_run(home, *folds):
    home.mkdir(parents=True, exist_ok=True)
    for fold in folds:
        (home / fold).mkdir(parents=True)
        (home / fold / NAME).touch()
    (home / "config.yaml").write_text("competition: {name: dsb2018}\ntraining: {epochs: 3}")
    (home / "run.json").write_text(json.dumps({"store": "store/of/it", "store_hash": "0"}))
    return home


def test_a_folds_folder_means_its_best_checkpoint_and_a_run_that_of_each_fold(tmp_path):
    run = make_run(tmp_path / "run", "fold10", "fold2")
    two, ten = run / "fold2" / NAME, run / "fold10" / NAME
    assert find_checkpoints([run]) == [two, ten]
    assert find_checkpoints([run / "fold10", two, ten]) == [ten, two]


def test_a_place_without_a_checkpoint_says_what_is_missing(tmp_path):
    (tmp_path / "run" / "fold0").mkdir(parents=True)
    with pytest.raises(DataError, match=r"fold0: has no best\.safetensors; train until"):
        find_checkpoints([tmp_path / "run" / "fold0"])
    with pytest.raises(DataError, match="no such checkpoint, fold or run"):
        find_checkpoints([tmp_path / "nowhere"])
    run = make_run(tmp_path / "other")
    with pytest.raises(DataError, match=r"other: no fold has a best\.safetensors"):
        find_checkpoints([run])


def test_a_run_has_its_config_and_store_and_a_config_the_usual_places(tmp_path):
    run = make_run(tmp_path / "run", "fold0")
    opened = open_experiment(run, ["training.batch=7"])
    assert (opened.config.training.epochs, opened.config.training.batch) == (3, 7)
    assert (opened.run, opened.store.as_posix()) == (run, "store/of/it")
    path = tmp_path / "configs" / "cells" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("competition: {name: dsb2018}")
    opened = open_experiment(path)
    assert (opened.run.as_posix(), opened.store.as_posix()) == ("runs/cells/mine", "store/cells/mine")
    assert open_experiment(path, run=run, store=tmp_path)[2:] == (run, tmp_path)


def test_what_is_neither_a_run_nor_a_config_is_named(tmp_path):
    run = make_run(tmp_path / "run", "fold0")
    for part in (run / "fold0", run / "fold0" / NAME):
        with pytest.raises(
            ConfigError, match=rf"a part of the run {run}; .* submit take this part .*--checkpoint {part}"
        ):
            open_experiment(part)
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="no run here; give the folder that kaggle-unet train wrote"):
            open_experiment(nothing)
    with pytest.raises(ConfigError, match=r"is a run and --run .* another one"):
        open_experiment(run, run=tmp_path)
    (run / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config .*run/config\.yaml"):
        open_experiment(run)


def test_a_run_that_is_not_there_names_the_nearest_one(tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "cells" / "quick", "fold0")
    (tmp_path / "quik.yaml").write_text("competition: {name: dsb2018}")
    monkeypatch.chdir(tmp_path)
    for words in (("runs/cells/quik",), ("quik.yaml", "--run", "runs/cells/quik")):
        answer = call("tune", *words)
        assert "runs/cells/quik: no run here" in answer.err
        assert "did you mean runs/cells/quick?" in answer.err


def test_decode_parameters_of_other_checkpoints_are_warned_of(tmp_path):
    file = tmp_path / "decode.yaml"
    file.write_text("decode: {mask_threshold: 0.3}\ncheckpoints: [aa, bb]")
    assert check_decode_params(None, ["cc"], MASK) == check_decode_params(file, ["bb"], MASK) == []
    (remark,) = check_decode_params(file, ["bb", "cc"], MASK)
    assert "searched without 1 of these checkpoints; run kaggle-unet tune again" in remark
    file.write_text("decode: {mask_threshold: 0.3}")
    (remark,) = check_decode_params(file, ["bb"], MASK)
    assert "does not record the checkpoints" in remark


def test_decode_parameters_of_another_codec_are_warned_of(tmp_path):
    file = tmp_path / "decode.yaml"
    file.write_text("decode: {mask_threshold: 0.3}\ncodec: mask\ncheckpoints: [aa]")
    assert check_decode_params(file, ["aa"], MASK) == []
    (remark,) = check_decode_params(file, ["aa"], MASK_BORDER)
    assert "was searched for the codec mask, not mask_border; leave it out: --decode config" in remark


def test_decode_parameters_searched_on_planes_of_other_views_are_warned_of(tmp_path):
    file = tmp_path / "decode.yaml"
    file.write_text("checkpoints: [aa]\nviews: [{flips: d4, scales: [1.0]}, {flips: d4, scales: [0.5]}]")
    same = Config(competition={"name": "dsb2018"}, inference={"flips": "d4", "scales": [0.5]})
    (remark,) = check_decode_params(file, ["aa"], same)
    assert "searched on planes predicted with inference.scales [1.0] and [0.5], these with [0.5]" in remark
    file.write_text("checkpoints: [aa]\nviews: [{flips: d4, scales: [1.0]}, {flips: d4}]")  # of an earlier version
    assert "inference.scales [1.0] and None" in check_decode_params(file, ["aa"], same)[0]
    file.write_text("checkpoints: [aa]\nviews: [{flips: d4, scales: [0.5]}]")
    assert check_decode_params(file, ["aa"], same) == []


def test_submit_warns_of_views_that_tune_has_not_searched_on(trained, moved, tmp_path):
    words = ["submit", moved, "--data", trained.test, "-o", tmp_path / "x.csv"]
    (views,) = yaml.safe_load((moved / "decode.yaml").read_text())["views"]
    assert "planes predicted with" not in said(*words).err
    answer = said(*words, "--set", "inference.scales=[0.5,1]")
    remark = f"planes predicted with inference.scales {views['scales']}, these with [0.5, 1.0]"
    assert remark in " ".join(answer.err.split())
    assert remark in " ".join(json.loads((tmp_path / "x.json").read_text())["warnings"])


def test_score_warns_of_planes_that_tune_has_not_searched_on(trained, moved):
    assert "planes predicted with" not in said("score", moved).err
    assert said("predict", moved, "--oof", "--set", "inference.scales=[0.5]").code == 0
    remark = "planes predicted with inference.scales [1.0], these with [0.5]"
    for verb in ("score", "report"):
        assert remark in " ".join(said(verb, moved).err.split())
    assert said("predict", moved, "--oof").code == 0


def test_tune_records_its_codec_and_submit_warns_of_another(trained, moved, tmp_path):
    found = yaml.safe_load((moved / "decode.yaml").read_text())
    mine = yaml.safe_load((moved / "config.yaml").read_text())["codec"]["name"]
    assert found["codec"] == mine
    if mine != "mask":
        other = ["--set", "codec.name=mask", "--set", "weights={}"]
        answer = said("submit", moved, "--data", trained.test, "-o", tmp_path / "x.csv", *other)
        assert f"was searched for the codec {mine}, not mask" in " ".join(answer.err.split())


def said(*words):
    answer = call(*words)
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def moved(trained, tmp_path_factory):
    """The run, copied, with decode parameters found by tune."""
    run = tmp_path_factory.mktemp("moved") / "run"
    shutil.copytree(trained.run, run)
    said("tune", run, "--trials", 3)
    return run


def test_a_run_says_all_that_its_config_and_checkpoints_say(trained, moved, tmp_path):
    folds = ["--checkpoint", moved / "fold0", "--checkpoint", moved / "fold1"]
    data = ["--data", trained.test]
    said("submit", moved, *data, "-o", tmp_path / "short.csv")
    said("submit", trained.config, *data, *folds, "-o", tmp_path / "long.csv")
    assert (tmp_path / "short.csv").read_bytes() == (tmp_path / "long.csv").read_bytes()
    manifest = json.loads((tmp_path / "short.json").read_text())
    assert manifest["decoding"] == "run/decode.yaml"
    assert [part["name"] for part in manifest["checkpoints"]] == [f"run/fold{fold}/{NAME}" for fold in (0, 1)]
    assert not [warning for warning in manifest["warnings"] if "searched" in warning]
    said("predict", moved, *data, "--planes", tmp_path / "short")
    said("predict", trained.config, *data, *folds, "--planes", tmp_path / "long")
    for file in (tmp_path / "long").glob("*.npz"):
        assert (tmp_path / "short" / file.name).read_bytes() == file.read_bytes()
    assert said("score", moved, "--json").out == said("score", "--run", moved, "--json").out
    assert said("tune", moved, "--trials", 3).out == said("tune", trained.config, "--run", moved, "--trials", 3).out
    said(
        "vote", moved, *data, "--csv", tmp_path / "short.csv", "--csv", tmp_path / "long.csv", "-o", tmp_path / "v.csv"
    )
    assert (tmp_path / "v.csv").read_bytes() == (tmp_path / "long.csv").read_bytes()


def test_out_of_fold_planes_are_those_of_all_folds(moved):
    files = sorted(moved.glob("fold*/planes/*.npz"))
    before = [file.read_bytes() for file in files]
    assert len({file.parent for file in files}) == 2
    for file in files:
        file.unlink()
    said("predict", moved, "--oof")
    assert [file.read_bytes() for file in files] == before


def test_tune_ties_its_file_to_the_checkpoints_it_searched_on(trained, moved, tmp_path):
    found = yaml.safe_load((moved / "decode.yaml").read_text())
    hashes = [(moved / f"fold{fold}" / f"{NAME}.sha256").read_text().split()[0] for fold in (0, 1)]
    assert found["checkpoints"] == sorted(hashes)
    words = ["submit", moved, "--data", trained.test, "--checkpoint", moved / "fold0" / "last.safetensors"]
    answer = said(*words, "-o", tmp_path / "x.csv")
    is_other = (moved / "fold0" / "last.safetensors.sha256").read_text().split()[0] not in hashes
    assert is_other
    assert "decode.yaml was searched without" in answer.err.replace("\n", " ")
    assert "searched without" in " ".join(json.loads((tmp_path / "x.json").read_text())["warnings"])


def test_a_run_that_does_not_say_its_store_is_damaged(tmp_path):
    (tmp_path / "run.json").write_text('{"store": "x"}')
    with pytest.raises(DataError, match="does not say which store it was trained on"):
        describe_run(tmp_path)


def test_a_decoding_that_a_config_cannot_take_can_be_left_out(tmp_path):
    (tmp_path / "decode.yaml").write_text("decode: {mask_threshold: 0.4}")
    config = parse_config(
        "competition: {name: tgs}", ["augmentation.preset=none", "codec.name=mask", "decode.single_object=true"]
    )
    with pytest.raises(ConfigError, match=r"decode\.yaml \(--decode config leaves it out\): decode\.single_object"):
        choose_decode_params(config, [tmp_path], chosen=None)
