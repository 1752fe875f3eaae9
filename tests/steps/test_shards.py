"""Shards: whatever they do, in whichever order, the unsharded call writes the bytes that it would write alone."""

import json

import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.steps import make_targets, submit
from kaggle_unet.types import Shard
from tests.steps.conftest import call
from tests.steps.test_segment import contents

folder_only = pytest.mark.parametrize("trained", ["folder"], indirect=True)


def work(*words, shards=(2, 3, 1)):
    """Run a command for each shard, then for the whole."""
    for number in shards:
        answer = call(*words, "--shard", f"{number}/3")
        assert answer.code == 0, answer.err
    answer = call(*words)
    assert answer.code == 0, answer.err


def of_store(folder):
    return {name: data for name, data in contents(folder).items() if name.endswith((".npz", ".csv", "report.json"))}


def test_a_store_made_by_shards_is_the_store_made_at_once(trained, tmp_path):
    work("make-targets", trained.config, "--data", trained.train, "--store", tmp_path)
    assert of_store(tmp_path) == of_store(trained.store)


@folder_only
def test_the_whole_decodes_nothing_that_shards_have_scored(trained, tmp_path, monkeypatch):
    words = ("make-targets", trained.config, "--data", trained.train, "--store", tmp_path)
    for number in (1, 2):
        assert call(*words, "--shard", f"{number}/2").code == 0
    monkeypatch.setattr(make_targets, "encode_with_weights", None)
    monkeypatch.setattr(make_targets.TargetSet, "read", None)
    assert call(*words).code == 0
    assert of_store(tmp_path) == of_store(trained.store)
    assert not (tmp_path / "shards").exists()


def test_planes_predicted_by_shards_are_those_predicted_at_once(trained, tmp_path):
    words = ("predict", trained.run, "--data", trained.test, "--set", "inference.batch=2", "--planes")
    assert call(*words, tmp_path / "whole").code == 0
    assert call(*words, tmp_path / "parts", "--shard", "1/2").code == 0
    assert not (tmp_path / "parts" / "planes.json").exists()
    work(*words, tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_csv_of_shards_is_the_csv_written_at_once(trained, tmp_path, monkeypatch):
    words = ("submit", trained.run, "--data", trained.test, "-o")
    assert call(*words, tmp_path / "whole.csv").code == 0
    work(*words, tmp_path / "parts.csv", shards=(3,))
    (tmp_path / "parts.csv").unlink()
    for number in (1, 2):
        assert call(*words, tmp_path / "parts.csv", "--shard", f"{number}/2").code == 0
    monkeypatch.setattr(submit, "_to_rows", None)  # nothing is left to be predicted
    assert call(*words, tmp_path / "parts.csv").code == 0
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "parts.csv.shards").exists()


@folder_only
def test_rows_of_shards_with_other_settings_are_not_taken(trained, tmp_path):
    words = ("submit", trained.run, "--data", trained.test, "-o", tmp_path / "x.csv", "--decode", "config")
    assert call(*words).code == 0
    expected = (tmp_path / "x.csv").read_bytes()
    assert call(*words, "--shard", "1/1", "--set", "postprocess.min_area_px=60").code == 0
    assert call(*words).code == 0
    assert (tmp_path / "x.csv").read_bytes() == expected
    assert call(*words, "--shard", "1/1", "--labels", tmp_path / "a").code == 0
    assert call(*words, "--labels", tmp_path / "b").code == 0
    assert len(list((tmp_path / "b").glob("*.tif"))) == len(trained.truth)


@folder_only
def test_segmented_images_of_shards_are_those_segmented_at_once(trained, tmp_path):
    words = ("segment", trained.run, trained.test / "images", "-o")
    assert call(*words, tmp_path / "whole").code == 0
    work(*words, tmp_path / "parts", shards=(3, 1))
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@folder_only
def test_a_time_budget_is_for_the_whole(trained, tmp_path):
    answer = call(
        "submit", trained.run, "--data", trained.test, "-o", tmp_path / "x.csv", "--shard", "1/2", "--time-budget", "9h"
    )
    assert answer.code == 2
    assert "--time-budget is for the whole" in answer.err


def test_a_time_budget_takes_what_shards_have_found(trained, tmp_path):
    words = ("submit", trained.run, "--data", trained.test)
    for shard in ("1/2", "2/2"):
        assert call(*words, "-o", tmp_path / "x.csv", "--shard", shard).code == 0
    answer = call(*words, "-o", tmp_path / "x.csv", "--time-budget", "0s")
    assert (answer.code, "budget was short" in answer.err) == (0, False)
    assert call(*words, "-o", tmp_path / "whole.csv").code == 0
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "x.csv.shards").exists()


@pytest.mark.parametrize("trained", ["dsb2018"], indirect=True)
def test_where_no_image_can_be_read_a_budget_and_an_estimate_have_nothing_to_measure(trained, tmp_path):
    (tmp_path / "bad" / "images").mkdir(parents=True)
    (tmp_path / "bad" / "images" / "a.png").write_bytes(b"no image")
    sets = ("--set", "competition.name=folder", "--set", "inference.flips=d4")
    words = ("submit", trained.run, "--data", tmp_path / "bad", "-o", tmp_path / "x.csv", "--skip-bad", *sets)
    for more in (("--dry-run",), ("--time-budget", "9h")):
        answer = call(*words, *more)
        assert answer.code == 0, answer.err
    assert (tmp_path / "x.csv").read_text().splitlines() == ["ImageId,EncodedPixels", "a,"]


@folder_only
def test_a_damaged_file_of_a_shard_is_named(trained, tmp_path):
    words = ("submit", trained.run, "--data", trained.test, "-o", tmp_path / "x.csv")
    assert call(*words, "--shard", "1/1").code == 0
    (kept,) = (tmp_path / "x.csv.shards").iterdir()
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "rows": {}}))
    answer = call(*words)
    assert answer.code == 3
    assert f"{kept} is damaged" in answer.err


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/2/3", "-1/2", "a/b", "1/0", "²/3"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)
