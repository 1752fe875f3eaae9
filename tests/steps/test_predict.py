"""An interrupted prediction goes on; all planes of a folder are of one prediction; what can't be read is told."""

import json
import shutil

import pytest

from kaggle_unet.config import load_config
from kaggle_unet.io.tables import read_csv
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps.predict import predict_data
from tests.steps.conftest import call


@pytest.fixture
def shown(monkeypatch):
    """How many images networks are shown in each forward pass."""
    sizes, forward = [], PlainUNet.forward

    def watch(network, inputs):
        sizes.append(len(inputs))
        return forward(network, inputs)

    monkeypatch.setattr(PlainUNet, "forward", watch)
    return sizes


def poison(trained, images):
    """Copy the test images, and add one with a sound header alone and one that is empty."""
    shutil.copytree(trained.test / "images", images)
    sound = next(iter(sorted(images.iterdir())))
    (images / f"broken{sound.suffix}").write_bytes(sound.read_bytes()[:900])
    (images / "empty.png").write_bytes(b"")


def predict_test(trained, folder, *, batch=2, on_progress=lambda *_: None):
    config = load_config(trained.config, [f"inference.batch={batch}", "inference.flips=none"])
    predict_data(config, [trained.run / "fold0"], str(trained.test), folder, on_progress=on_progress, dry_run=False)


def stop_after_three(_what, done, _total):
    if done == 3:
        raise KeyboardInterrupt


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_an_interrupted_prediction_redoes_whole_batches_only_and_gives_the_same_planes(trained, tmp_path, shown):
    predict_test(trained, tmp_path / "whole")
    n_images = sum(shown)
    assert n_images >= 4

    with pytest.raises(KeyboardInterrupt):
        predict_test(trained, tmp_path / "cut", on_progress=stop_after_three)
    assert not (tmp_path / "cut" / "planes.json").exists()
    shown.clear()
    predict_test(trained, tmp_path / "cut")
    assert n_images - 3 < sum(shown) < n_images
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")

    shown.clear()
    predict_test(trained, tmp_path / "cut")
    assert not shown  # all is there
    predict_test(trained, tmp_path / "cut", batch=1)
    assert sum(shown) == n_images  # another batch moves last bits


@pytest.mark.parametrize("trained", ["folder"], indirect=True)
def test_images_that_cannot_be_read_are_set_aside_and_the_others_predicted(trained, tmp_path):
    (tmp_path / "planes").mkdir()
    (tmp_path / "planes" / "set_aside.csv").write_text("of someone else")
    assert call("predict", trained.run, "--data", trained.test, "--planes", tmp_path / "planes").code == 0
    assert (tmp_path / "planes" / "set_aside.csv").read_text() == "of someone else"
    shutil.rmtree(tmp_path / "planes")
    poison(trained, tmp_path / "images")
    words = ("predict", trained.run, "--data", tmp_path, "--planes", tmp_path / "planes")
    assert call(*words).code == 3
    assert call(*words, "--skip-bad", "--shard", "1/2").code == 0
    answer = call(*words, "--skip-bad")
    assert answer.code == 0
    assert answer.err.count("set aside: ") == 2
    assert [row[0] for row in read_csv(tmp_path / "planes" / "set_aside.csv").rows] == ["broken", "empty"]
    assert len(list((tmp_path / "planes").glob("*.npz"))) == 4
    answer = call("predict", trained.run, "--oof", "--skip-bad")
    assert answer.code == 2
    assert "to these alone --shard and --skip-bad belong" in answer.err


@pytest.mark.parametrize("trained", ["folder"], indirect=True)
def test_an_image_that_cannot_be_read_has_an_empty_row_that_is_told(trained, tmp_path):
    words = ("submit", trained.run, "--data", tmp_path, "-o", tmp_path / "x.csv", "--skip-bad")
    poison(trained, tmp_path / "images")
    assert call(*words, "--shard", "1/2").code == 0
    for more in ((), ("--time-budget", "1h")):
        answer = call(*words, *more)
        assert answer.code == 0
        assert "all 6 images of the data; 2 of them can't be read and have an empty row" in answer.out
        rows = read_csv(tmp_path / "x.csv").rows
        assert {id_ for id_, code in rows if not code} >= {"broken", "empty"}
        assert len({id_ for id_, _ in rows}) == 6
        manifest = json.loads((tmp_path / "x.json").read_text())
        assert sorted(manifest["set_aside"]) == ["broken", "empty"]
        assert str(tmp_path) not in (tmp_path / "x.json").read_text()
    assert call(*words[:-1]).code == 3


@pytest.mark.parametrize("trained", ["folder"], indirect=True)
def test_planes_of_any_images_never_pass_for_those_of_a_run(trained, tmp_path):
    words = ("predict", trained.run, "--data", trained.test, "--planes")
    for part in ("fold0/planes", "fold7", "."):
        answer = call(*words, trained.run / part)
        assert (answer.code, "is in the run" in answer.err) == (2, True), answer.err
    assert not (trained.run / "fold7").exists()
    assert call("score", trained.run).code == 0
    assert call(*words, tmp_path / "planes").code == 0
    run = shutil.copytree(trained.run, tmp_path / "run")
    for others in (tmp_path / "planes", trained.run / "fold1" / "planes"):  # copied by hand
        shutil.rmtree(run / "fold0" / "planes")
        shutil.copytree(others, run / "fold0" / "planes")
        for verb in ("score", "tune"):
            answer = call(verb, run)
            assert (answer.code, "is not of fold 0; run kaggle-unet predict --oof again" in answer.err) == (3, True)
