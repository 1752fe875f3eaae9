"""What `train` does beside fitting a fold well."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from pandas import DataFrame
from PIL import Image

from kaggle_unet.config import Config, load_config
from kaggle_unet.errors import ConfigError
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.steps.build import build_model as build
from kaggle_unet.steps.train import _divide, _refuse_idle, train_fold
from kaggle_unet.store import Store
from kaggle_unet.synthetic import files as drawn
from kaggle_unet.synthetic.images import draw_salt
from kaggle_unet.training.fold import EpochDone
from kaggle_unet.types import FULL
from tests.steps.conftest import call


@pytest.fixture(scope="module")
def prepared(drawn_config, tmp_path_factory):
    """A config, its data, its store."""
    config, data, test = drawn_config("dsb2018")
    store = tmp_path_factory.mktemp("store") / "store"
    assert call("make-targets", config, "--data", data, "--store", store).code == 0
    return config, test, store


def train(prepared, run, *options, resume=False):
    config, _, store = prepared
    sets = [word for option in options for word in ("--set", option)]
    return call("train", config, "--fold", 0, "--store", store, "--run", run, *sets, *(["--resume"] if resume else []))


def test_snapshots_are_checkpoints_that_a_submission_can_combine(prepared, tmp_path):
    config, test, _ = prepared
    options = "training.epochs=3", "training.schedule={name: snapshots, cycles: 3}", "training.swa={from_epoch: 2}"
    answer = train(prepared, tmp_path / "run", *options)
    assert answer.code == 0, answer.err
    names = ["snapshot1.safetensors", "snapshot2.safetensors", "snapshot3.safetensors", "swa.safetensors"]
    assert "other checkpoints: snapshot1.safetensors 0." in answer.out
    fold = tmp_path / "run" / "fold0"
    assert list(json.loads((fold / "result.json").read_text())["other_checkpoints"]) == names
    checkpoints = [word for name in names for word in ("--checkpoint", fold / name)]
    answer = call("submit", config, "--data", test, *checkpoints, "-o", tmp_path / "x.csv")
    assert answer.code == 0, answer.err
    manifest = json.loads((tmp_path / "x.json").read_text())
    assert [checkpoint["name"] for checkpoint in manifest["checkpoints"]] == [f"run/fold0/{name}" for name in names]
    assert len({checkpoint["sha256"] for checkpoint in manifest["checkpoints"]}) == 4


def test_a_training_on_all_images_has_no_score_and_is_submitted_where_it_is_named(prepared, tmp_path):
    config, test, store = prepared
    run = tmp_path / "run"
    answer = call("train", config, "--fold", "full", "--store", store, "--run", run, "--set", "training.epochs=1")
    assert answer.code == 0, answer.err
    assert "all images" in answer.out
    assert "out-of-fold" not in answer.out
    result = json.loads((run / "full" / "result.json").read_text())
    assert result["training_samples"] == len(Store.open(store).ids)
    assert not {"oof_score", "oof_interval"} & set(result)
    csvs = []
    for words in ((), ("--checkpoint", run / "full")):  # alone it stands for the run
        assert "--checkpoint" not in answer.out
        submitted = call("submit", run, "--data", test, *words, "-o", tmp_path / "x.csv")
        assert submitted.code == 0, submitted.err
        csvs.append((tmp_path / "x.csv").read_bytes())
    assert csvs[0] == csvs[1]
    assert train(prepared, run, "training.epochs=1").code == 0
    words = ("--fold", "full", "--store", store, "--run", run, "--set", "training.epochs=1", "--resume")
    again = call("train", config, *words)
    assert f"--checkpoint {run} --checkpoint {run / 'full'}" in " ".join(again.out.split())  # beside a fold


def test_a_training_on_all_images_is_watched_on_the_first_fold_that_there_is():
    folds = DataFrame({"id": ["a", "b", "c"], "fold": [2, 1, None]}).astype({"fold": "Int64"})
    assert _divide(folds, FULL) == (["a", "b"], ["b"])


def test_a_second_stage_begins_with_the_weights_of_the_same_fold(prepared, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(prepared, first, "training.epochs=1").code == 0
    still = "training.optimizer={name: sgd, learning_rate: 1e-12}", "training.epochs=1"
    answer = train(prepared, second, f"training.start_from={first}", *still)
    assert answer.code == 0, answer.err
    before, after = (load_checkpoint(run / "fold0" / "best.safetensors")["model"] for run in (first, second))
    weights = [name for name in before if name.endswith(".weight")]
    assert weights
    assert all(np.allclose(before[name], after[name], atol=1e-7) for name in weights)


def test_a_second_stage_does_not_go_on_when_its_first_has_been_trained_anew(prepared, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(prepared, first, "training.epochs=1").code == 0
    options = f"training.start_from={first}", "training.epochs=1"
    assert train(prepared, second, *options).code == 0
    assert train(prepared, second, *options, resume=True).code == 0
    shutil.rmtree(first)
    assert train(prepared, second, *options, resume=True).code == 0  # what is gone can't have changed
    assert train(prepared, first, "training.epochs=1", "training.seed=2").code == 0
    assert "already holds last.safetensors" in train(prepared, second, *options).err
    answer = train(prepared, second, *options, resume=True)
    said = " ".join(answer.err.split())
    assert (answer.code, "has changed since" in said, f"remove {second / 'fold0'}" in said) == (2, True, True), said


def test_a_training_does_not_go_on_when_its_encoders_weights_have_changed(prepared, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(smp.encoders.get_encoder("resnet18", weights=None).state_dict(), weights)
    options = f"model={{name: smp, encoder: resnet18, encoder_weights: {weights}}}", "training.epochs=1"
    assert train(prepared, tmp_path / "run", *options).code == 0
    assert train(prepared, tmp_path / "run", *options, resume=True).code == 0
    torch.save(smp.encoders.get_encoder("resnet18", weights=None).state_dict(), weights)
    answer = train(prepared, tmp_path / "run", *options, resume=True)
    assert (answer.code, "weights.pth has changed since" in " ".join(answer.err.split())) == (2, True)


CLASSES = {"codec": {"name": "classes", "classes": ["soil", "water"]}, "competition": {"name": "folder"}}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"training": {"epochs": 2, "schedule": {"warmup_epochs": 2}}}, "warmup_epochs would .* until epoch 2"),
        (
            {"training": {"epochs": 5, "schedule": {"name": "snapshots", "cycles": 3, "warmup_epochs": 1}}},
            "warmup_epochs would .* until epoch 1",
        ),
        ({"training": {"epochs": 2, "schedule": {"warmup_epochs": 1.5}}}, None),
        ({"training": {"epochs": 2, "schedule": {"name": "constant", "warmup_epochs": 2}}}, None),
        ({"codec": {"name": "interior_border_background"}, "loss": {"lovasz_hinge": "relu"}}, "lovasz_hinge would"),
        ({"codec": {"name": "mask_border"}, "loss": {"lovasz_hinge": "relu"}}, None),
        (
            {**CLASSES, "model": {"name": "plain_unet", "empty_head": {}}, "loss": {"empty": 1}},
            "model.empty_head would",
        ),
        ({**CLASSES, "loss": {"deep_supervision_images": "non_empty"}}, "deep_supervision_images would"),
    ],
)
def test_settings_that_would_do_nothing_are_refused_where_a_training_begins(sections, says):
    config = Config.model_validate({"competition": {"name": "dsb2018"}, **sections})  # runs that have them can be used
    with pytest.raises(ConfigError, match=says) if says else nullcontext():
        _refuse_idle(config)


def test_a_start_that_knows_the_validation_samples_or_has_another_shape_is_refused(prepared, tmp_path):
    config, _, store = prepared
    run, file = tmp_path / "run", tmp_path / "run" / "fold1" / "best.safetensors"
    words = ["train", config, "--store", store, "--run", run, "--set", "training.epochs=1", "--fold", 1]
    assert call(*words).code == 0

    def start(path, *options):
        return train(prepared, tmp_path / "other", f"training.start_from={path}", *options)

    assert "validates on" in (known := start(file)).err
    assert "fold0/best.safetensors: no such file" in (missing := start(run)).err.replace("\n", "")
    for name in (file.name, f"{file.name}.sha256"):
        shutil.copy(file.parent / name, tmp_path / name)
    alone = tmp_path / file.name
    assert "has other tensors than this config's" in (shaped := start(alone, "model.filters=5")).err
    assert [answer.code for answer in (known, missing, shaped)] == [2, 2, 2]
    (tmp_path / "weights.pth").touch()
    assert "checkpoint" in (answer := start(tmp_path / "weights.pth")).err
    assert (answer.code, "best.safetensors" in answer.err) == (3, False)
    assert start(alone, "training.epochs=1").code == 0


def test_a_start_that_knows_the_validation_samples_by_what_it_added_or_began_with_is_refused(prepared, tmp_path):
    config, _, store = prepared
    other = tmp_path / "other store"
    shutil.copytree(store, other)
    added = tmp_path / "added"  # names of this store's samples
    drawn.write_dsb_zip(tmp_path / "more.zip", 7, 4, shape=(48, 56))
    assert call("make-targets", config, "--data", tmp_path / "more.zip", "--store", added).code == 0

    def run(name, home, fold, *words):
        options = ("--store", home, "--run", tmp_path / name, "--set", "training.epochs=1")
        return call("train", config, "--fold", fold, *options, *words)

    assert run("a", store, 0, "--add-store", added).code == 0
    answer = run("b", added, 0, "--set", f"training.start_from={tmp_path / 'a'}")
    assert (answer.code, "has been trained on 2 of the 2 samples" in " ".join(answer.err.split())) == (2, True)
    assert run("c", store, 1).code == 0
    assert run("d", added, 0, "--set", f"training.start_from={tmp_path / 'c' / 'fold1'}").code == 0
    answer = run("e", store, 0, "--set", f"training.start_from={tmp_path / 'd'}")  # which began with c's fold 1
    assert (answer.code, "itself or where it began" in " ".join(answer.err.split())) == (2, True)
    assert run("f", store, 1, "--set", f"training.start_from={tmp_path / 'd' / 'fold0'}").code == 0


def test_a_start_inside_its_own_folder_is_found(prepared, tmp_path, monkeypatch):
    config, _, store = prepared
    assert train(prepared, tmp_path / "first", "training.epochs=1").code == 0
    monkeypatch.chdir(tmp_path / "first" / "fold0")
    start = ("--set", "training.start_from=best.safetensors", "--set", "training.epochs=1")
    answer = call("train", config, "--fold", 0, "--store", store, "--run", tmp_path / "second", *start)
    assert answer.code == 0, answer.err


def test_a_resumed_training_does_not_read_the_weights_that_it_replaces(prepared, tmp_path, monkeypatch):
    assert train(prepared, tmp_path / "run", "training.epochs=2", "training.minutes=1e-9").code == 0
    loads = []
    monkeypatch.setattr(
        "kaggle_unet.steps.train.build_model", lambda config, **how: loads.append(how) or build(config, **how)
    )
    config, _, store = prepared
    words = ("--fold", 0, "--store", store, "--run", tmp_path / "run", "--resume", "--set", "training.epochs=2")
    assert call("train", config, *words).code == 0
    assert [how["load_encoder"] for how in loads] == [False]


def test_networks_of_gray_and_of_colours_are_averaged_where_colours_are_shown(prepared, tmp_path):
    _, test, _ = prepared
    gray, colour = tmp_path / "gray", tmp_path / "colour"
    assert train(prepared, gray, "training.epochs=1").code == 0
    assert train(prepared, colour, "training.epochs=1", "input.channels=[red, green, blue]").code == 0
    both = ("--data", test, "--checkpoint", colour, "--checkpoint", gray)
    answer = call("submit", colour, *both, "-o", tmp_path / "x.csv")
    assert answer.code == 0, answer.err
    answer = call("submit", gray, *both, "-o", tmp_path / "y.csv")
    assert answer.code == 2
    assert "input.channels" in answer.err
    answer = call("tune", colour, "--with", gray, "--trials", 2)
    assert answer.code == 0, answer.err
    assert "differs from" in call("tune", gray, "--with", colour, "--trials", 2).err


def test_weights_of_an_ensemble_are_for_it_alone(prepared, tmp_path):
    config, test, _ = prepared
    weights = "inference.weights=[2, 1]"
    assert train(prepared, tmp_path / "run", "training.epochs=2", weights).code == 0  # predicts with one checkpoint
    fold = tmp_path / "run" / "fold0"
    words = ("--data", test, "-o", tmp_path / "x.csv", "--set", weights)
    answer = call("submit", config, "--checkpoint", fold, *words)
    assert answer.code == 2
    assert "has 2 numbers, but there are 1 different checkpoints" in answer.err
    both = ("--checkpoint", fold / "best.safetensors", "--checkpoint", fold / "last.safetensors")
    answer = call("submit", config, *both, *words)
    assert answer.code == 0, answer.err


def test_a_first_epoch_that_was_cut_short_leaves_no_snapshot(prepared, tmp_path):
    options = "training.epochs=1", "training.schedule={name: snapshots, cycles: 1}"
    assert train(prepared, tmp_path / "run", *options).code == 0
    fold = tmp_path / "run" / "fold0"
    (fold / "last.safetensors").unlink()
    (fold / "snapshot9.safetensors").write_bytes(b"of another try")
    config, _, store = prepared
    sets = [word for option in options for word in ("--set", option)]
    answer = call("train", config, "--fold", 0, "--store", store, "--run", tmp_path / "run", "--resume", *sets)
    assert answer.code == 0, answer.err
    assert [path.name for path in fold.glob("snapshot*.safetensors")] == ["snapshot1.safetensors"]


def test_a_training_that_goes_wrong_is_shown_and_ends_with_1(prepared, tmp_path):
    answer = train(prepared, tmp_path / "run", "training.optimizer={name: sgd, learning_rate: 1e9}", "training.batch=2")
    assert answer.code == 1
    assert "epoch 1, step 2: the" in answer.err
    fold = tmp_path / "run" / "fold0"
    assert str(fold / "failed_batch.npz") in answer.err.replace("\n", "")
    with np.load(fold / "failed_batch.npz") as kept, Image.open(fold / "failed_batch.png") as picture:
        assert kept["inputs"].shape[0] == len(kept["ids"]) == 2
        assert picture.mode == "RGB"
    assert not (fold / "best.safetensors").exists()


def test_an_empty_fold_is_named(drawn_config, tmp_path):
    config, data, _ = drawn_config("tgs")
    with ZipFile(data) as archive:
        ids = sorted(Path(name).stem for name in archive.namelist() if name.startswith("images/"))
    rows = [f"{id_},{2 * (number % 2)}" for number, id_ in enumerate(ids)]
    (config.parent / "folds.csv").write_text("\n".join(["id,fold", *rows]) + "\n")
    words = ["--store", tmp_path / "store", "--set", "competition.folds=folds.csv"]
    assert call("make-targets", config, "--data", data, *words).code == 0
    answer = call("train", config, "--fold", 1, "--run", tmp_path / "run", *words)
    assert answer.code == 2
    assert f"fold 1 has 0 samples to validate on and {len(ids)} to train on" in answer.err


def test_a_set_without_an_object_is_nothing_to_learn_from(drawn_config, tmp_path, monkeypatch):
    def draw_rock(rng):
        image, mask = draw_salt(rng)
        return image, np.zeros_like(mask)

    monkeypatch.setattr(drawn, "draw_salt", draw_rock)
    drawn.write_tgs_zip(tmp_path / "train.zip", 1, 8)
    config, _, _ = drawn_config("tgs")
    answer = call("make-targets", config, "--data", tmp_path / "train.zip", "--store", tmp_path / "store")
    assert answer.code == 0, answer.err
    answer = call("train", config, "--fold", 0, "--store", tmp_path / "store", "--run", tmp_path / "run")
    assert answer.code == 3
    assert "none of the 4 training samples has an object in pixels that count, so there is nothing to" in answer.err


def test_a_network_that_finds_nothing_is_warned_of(prepared, tmp_path):
    answer = train(prepared, tmp_path / "run", "decode.mask_threshold=0.999", "decode.seed_threshold=0.999")
    assert answer.code == 0, answer.err
    assert "warning epoch 2: the network finds no object in any of 4 validation samples" in answer.err


def test_the_first_batch_is_drawn_and_nothing_else_happens(prepared, tmp_path):
    config, _, store = prepared
    words = ["--store", store, "--run", tmp_path / "run", "--show-batch"]
    assert call("train", config, *words, tmp_path / "batch.png").code == 0
    answer = call("train", config, "--fold", 1, *words, tmp_path / "other.png")
    assert answer.out == f"batch    {tmp_path / 'other.png'}\n"
    assert not (tmp_path / "run").exists()
    pictures = [np.asarray(Image.open(tmp_path / name)) for name in ("batch.png", "other.png")]
    assert pictures[0].shape[2] == 3
    assert not np.array_equal(*pictures)
    answer = call("train", config, *words, tmp_path / "batch.jpg")
    assert (answer.code, "ends in .png" in answer.err) == (2, True)


def test_a_fold_must_be_named(prepared):
    answer = call("train", prepared[0], "--store", prepared[2])
    assert answer.code == 2
    assert "choose the fold to hold out with --fold N, or use --fold all" in answer.err


def test_held_out_samples_are_read_once_for_validation_and_for_out_of_fold_planes(prepared, tmp_path):
    config, _, folder = prepared
    shutil.copytree(folder, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    held_out = [id_ for id_, fold in store.folds.items() if fold == 0]

    def forget(event):
        if isinstance(event, EpochDone):
            for id_ in held_out:
                (store.folder / "samples" / f"{id_}.npz").unlink(missing_ok=True)

    result = train_fold(load_config(config), store.folder, tmp_path / "run", 0, on_event=forget)
    assert result.samples == len(held_out)
    assert not any((store.folder / "samples" / f"{id_}.npz").exists() for id_ in held_out)
